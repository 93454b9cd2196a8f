"""Fifty penalties on five folds in shared scans, beside one fit, and beside scikit-learn on fewer rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

import outgrow as og
from bench.cases.names import LOCAL, SKLEARN
from bench.contest import WARM_ROWS, Case, Contender, Place, Quality, QualityMeasure, Target
from bench.data import FEATURES, read_label, read_matrix, table_path
from outgrow.ml.selection.many import ManyFits, fit_many

PENALTIES, FOLDS = 50, 5
STRENGTHS = np.logspace(-4, 4, PENALTIES)
SMALL, QUICK_SMALL = 50_000, 2_000
CHECKED = (0, 20, 49)
"""Settings whose objectives are compared with ordinary fits."""

ONE, RIDGE, ONE_RIDGE = "outgrow, one fit", "outgrow, ridge", "outgrow, one ridge fit"
FEW, SKLEARN_FEW = f"outgrow, {SMALL:,} rows", f"{SKLEARN} LogisticRegressionCV, {SMALL:,} rows"


class Found(NamedTuple):
    """What was found, by which estimator, on which rows, and the column that is predicted."""

    fits: ManyFits
    estimator: Any
    rows: og.Dataset
    target: str


def _many(estimator: Any, name: str, rows: og.Dataset, target: str) -> Found:
    settings = [{name: float(strength)} for strength in STRENGTHS]
    return Found(
        fit_many(estimator, rows, target, settings, folds=og.KFold(FOLDS), models=True),
        estimator,
        rows,
        target,
    )


def logistic(place: Place) -> Found:
    return _many(og.LogisticRegression(), "C", og.read(str(place.path)), "label")


def ridge(place: Place) -> Found:
    return _many(og.Ridge(), "alpha", og.read(str(place.path)).select(FEATURES), FEATURES[-1])


def one_logistic(place: Place) -> None:
    og.LogisticRegression().fit(og.read(str(place.path)), "label")


def one_ridge(place: Place) -> None:
    og.Ridge().fit(og.read(str(place.path)).select(FEATURES), FEATURES[-1])


def few(place: Place) -> Found:
    return logistic(Place(_small(place)))


def sklearn(place: Place) -> None:
    from sklearn.linear_model import LogisticRegressionCV

    path = _small(place)
    model = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=FOLDS,
        scoring="neg_log_loss",
        l1_ratios=(0.0,),
        max_iter=1_000,
        use_legacy_attributes=False,
    )
    model.fit(read_matrix(path), read_label(path))


def _small(place: Place) -> Path:
    warming = pq.read_metadata(place.path).num_rows <= WARM_ROWS
    return table_path("numbers", QUICK_SMALL if place.quick or warming else SMALL)


def judge(path: Path) -> QualityMeasure:
    """The largest share by which an objective exceeds that of the ordinary fit of the setting and fold."""

    return lambda found: {"largest gap": max(_gap(found, number) for number in CHECKED)}


def _gap(found: Found, number: int) -> float:
    trial = found.fits.trials[number]
    model = type(found.estimator)(**trial.setting)
    alone = og.cross_validate(model, found.rows, found.target, cv=og.KFold(FOLDS))
    pairs = zip(trial.estimators, alone.estimators, strict=True)
    return max(_excess(own, other) for own, other in pairs)


def _excess(own: Any, other: Any) -> float:
    if hasattr(other, "objective_"):
        return abs(own.objective_ - other.objective_) / other.objective_
    return float(np.abs(own.coef_ - other.coef_).max() / np.abs(other.coef_).max())


CASE = Case(
    name="fused",
    title=f"{PENALTIES} penalties on {FOLDS} folds, learnt and scored",
    table="numbers",
    contenders=(
        Contender(LOCAL, logistic),
        Contender(ONE, one_logistic),
        Contender(RIDGE, ridge),
        Contender(ONE_RIDGE, one_ridge),
        Contender(FEW, few),
        Contender(SKLEARN_FEW, sklearn, repeats=1),
    ),
    judge=judge,
    quality=Quality("largest gap", "low", 1e-9),
    targets=(
        Target(LOCAL, ONE, at_most=15),
        Target(RIDGE, ONE_RIDGE, at_most=2),
        Target(FEW, SKLEARN_FEW, at_least=10),
    ),
    notes="Logistic and ridge regression, 250 models each, with the scores of each on the rows held out. "
    "Largest gap: the relative difference of the objective (ridge: of the coefficients) to ordinary fits of "
    "three of the settings on each fold. scikit-learn warm-starts along the penalties, and gives one score.",
)
