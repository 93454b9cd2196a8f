"""`python -m bench nist`: how many certified digits of NIST's reference data sets each library gets right.

Linear regressions and one-way analyses of variance, each with the defaults of the library; `--spark` adds
Spark MLlib.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import sklearn.feature_selection
import sklearn.linear_model

import outgrow as og
from bench.machine import machine
from bench.spark import assembled, warm_session

RESULTS = Path(__file__).parent / "results"
SETS = Path(__file__).parents[1] / "tests" / "nist"
REPLICATES, FAR = (21, 201, 2001), (1, 1_000_000, 1_000_000_000_000)
MOST = 15.0
PEER = find_spec("statsmodels") is not None

Regression = Callable[[np.ndarray, np.ndarray, bool], np.ndarray]
Analysis = Callable[[np.ndarray, np.ndarray], float]

INTRODUCTION = """
Written by `python -m bench nist`. Of each of NIST's Statistical Reference Datasets for linear regression and
analysis of variance (https://www.itl.nist.gov/div898/strd/): how many digits of the certified values are
right, by default settings. That is the least log relative error, -log10(|got - certified| / |certified|), of
all coefficients, the intercept included, or that of F; 15 at most, 0.0 where none is right. The powers of x
of a polynomial are rounded to float64 before any library sees them.
""".strip()
CAUSES = """
Filip's rounded powers of x themselves determine 7.6 digits of the certified coefficients. Of SmLs07 to
SmLs09, whose numbers lie near 1e12, float64 keeps four decimals, so that no library can have more than some
four digits.
""".strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench nist", description=__doc__)
    parser.add_argument("--spark", action="store_true", help="Spark MLlib, too")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # peers tell of the conditions that these sets are made for
    regressions: dict[str, Regression] = {
        "outgrow": _outgrow,
        "scikit-learn": _scikit_learn,
    }
    if PEER:
        regressions["statsmodels"] = _statsmodels
    if asked.spark:
        regressions["Spark MLlib"] = _mllib
    page = "\n".join(_page(regressions))
    (RESULTS / "nist.md").write_text(page + "\n")
    print(page)


def _page(regressions: dict[str, Regression]) -> Iterator[str]:
    yield f"# Certified digits\n\n{INTRODUCTION}\n\n## Linear regression\n"
    yield from _table(
        [*regressions],
        (
            (name, [digits(solve(X, y, intercept), certified) for solve in regressions.values()])
            for name, X, y, intercept, certified in _regressions()
        ),
    )
    analyses: dict[str, Analysis] = {
        "outgrow": lambda y, group: float(og.stats.f_oneway(y, by=group).statistic),
        "scikit-learn": lambda y, group: float(sklearn.feature_selection.f_classif(y[:, None], group)[0][0]),
        "SciPy": lambda y, group: float(scipy.stats.f_oneway(*(y[group == k] for k in set(group))).statistic),
    }
    if PEER:
        analyses["statsmodels"] = _statsmodels_analysis
    yield "\n## Analysis of variance\n"
    yield from _table(
        [*analyses],
        (
            (name, [digits(analyse(y, group), certified) for analyse in analyses.values()])
            for name, y, group, certified in _analyses()
        ),
    )
    facts = [f"{name} {value}" for name, value in machine().items() if name != "load before"]
    peer = [f"statsmodels {version('statsmodels')}"] if PEER else []
    yield f"\n{CAUSES}\n\n{'; '.join(facts + peer)}"


def _table(header: list[str], rows: Iterator[tuple[str, list[float]]]) -> Iterator[str]:
    yield f"| set | {' | '.join(header)} |"
    yield "|---|" + "---:|" * len(header)
    for name, found in rows:
        yield f"| {name} | {' | '.join(f'{value:.1f}' for value in found)} |"


def digits(got: Any, certified: Any) -> float:
    """The log relative error of the worst number, from 0 to 15.

    Parameters
    ----------
    got, certified : numbers, or arrays of one shape.
    """
    got, certified = np.atleast_1d(got).astype(float), np.atleast_1d(certified).astype(float)
    error = np.abs(got - certified) / np.where(certified == 0, 1, np.abs(certified))
    found = float(np.min(-np.log10(np.maximum(error, 10.0**-MOST))))
    return max(found, 0.0) if np.isfinite(found) else 0.0


def _regressions() -> Iterator[tuple[str, np.ndarray, np.ndarray, bool, np.ndarray]]:
    """Of each set: its name, X, y, whether there is an intercept, and the certified coefficients."""
    for name, known in _certified("linear").items():
        table = np.genfromtxt(SETS / f"{name}.csv", delimiter=",", names=True)
        names, degree = table.dtype.names or (), known.get("polynomial_degree")
        columns = [table["x"] ** k for k in range(1, degree + 1)] if degree else []
        X = np.column_stack(columns or [table[each] for each in names if each != "y"])
        yield name, X, table["y"], known["intercept"], np.array(known["coefficients"], float)


def _analyses() -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """Of each set: its name, y, the group of each row, and the certified F."""
    for name, known in _certified("anova").items():
        table = np.genfromtxt(SETS / f"{name}.csv", delimiter=",", names=True)
        yield name, table["y"], table["group"].astype(int), float(known["statistic"])
    for far in FAR:
        for replicates in REPLICATES:
            name = f"smls0{1 + 3 * FAR.index(far) + REPLICATES.index(replicates)}"
            tenths = np.array([2, *([1, 3] * 1_000)])[:replicates]
            cells = far + (tenths + tenths[:9, None]) / 10
            yield name, cells.ravel(), np.repeat(np.arange(9), replicates), float(replicates)


def _certified(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SETS / "certified.json").read_text())[kind]
    return found


def _outgrow(X: np.ndarray, y: np.ndarray, intercept: bool) -> np.ndarray:
    return _coefficients(og.LinearRegression(fit_intercept=intercept).fit(X, y), intercept)


def _scikit_learn(X: np.ndarray, y: np.ndarray, intercept: bool) -> np.ndarray:
    model = sklearn.linear_model.LinearRegression(fit_intercept=intercept).fit(X, y)
    return _coefficients(model, intercept)


def _coefficients(model: Any, intercept: bool) -> np.ndarray:
    return np.array([model.intercept_, *model.coef_] if intercept else model.coef_)


def _statsmodels(X: np.ndarray, y: np.ndarray, intercept: bool) -> np.ndarray:
    from statsmodels.api import OLS, add_constant

    return np.asarray(OLS(y, add_constant(X) if intercept else X).fit().params)


def _statsmodels_analysis(y: np.ndarray, group: np.ndarray) -> float:
    from statsmodels.stats.oneway import anova_oneway

    return float(anova_oneway(y, group, use_var="equal").statistic)


def _mllib(X: np.ndarray, y: np.ndarray, intercept: bool) -> np.ndarray:
    from pyspark.ml.regression import LinearRegression

    names = [f"x{j}" for j in range(X.shape[1])]
    table = np.column_stack([X, y]).tolist()
    frame = assembled(warm_session().createDataFrame(table, [*names, "label"]), names)
    model = LinearRegression(fitIntercept=intercept).fit(frame)
    return np.array([model.intercept, *model.coefficients] if intercept else [*model.coefficients])
