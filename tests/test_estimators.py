"""Every estimator, every check, every engine."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

import pytest
from sklearn.base import clone

import outgrow as og
import outgrow.deep
import outgrow.ml
from conftest import LOCAL_ENGINES, SPARK_ENGINES
from outgrow.catalogue import ESTIMATORS
from outgrow.ml.core.estimator import Estimator
from outgrow.testing import CHECKS, ENGINE_CHECKS, EngineCase, local_case, run_together
from outgrow.testing.estimators import Check, is_applicable
from outgrow.testing.fits import Fits


def cases() -> list[Estimator]:
    classes = [getattr(og, name) for name in ESTIMATORS if name != "Pipeline"]
    made = [cls(**cls.test_parameters) for cls in classes]
    made.append(og.Pipeline([og.SimpleImputer(), og.StandardScaler(), og.LogisticRegression()]))
    made.append(og.Pipeline([og.StandardScaler(), og.PCA(n_components=2), og.Ridge()]))
    return made


def test_every_estimator_is_covered() -> None:
    """Whatever class of a public name there is in `ml` and `deep`, but bases, is tested here."""
    for room in (outgrow.ml, outgrow.deep):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    homes = ("outgrow.ml.", "outgrow.deep.")
    kinds = {kind for kind in descendants(Estimator) if kind.__module__.startswith(homes)}
    leaves = {
        kind.__name__
        for kind in kinds
        if not kind.__name__.startswith("_") and kind.__module__ not in WRAPPERS
        if not kind.__module__.startswith("outgrow.ml.base.")
        if kind.__name__ in ESTIMATORS or not kinds & descendants(kind)
    }
    assert leaves == {type(case).__name__ for case in cases()}
    assert leaves <= set(og.__all__)
    assert all(is_applicable(case) for case in cases())


WRAPPERS = ("outgrow.ml.adapters", "outgrow.ml.meta.whole_pipeline", "outgrow.deep.network_features")
"""Classes that stand for estimators of others, or cannot be without one; they have tests of their own."""


def descendants(kind: type) -> set[type]:
    return {each for child in kind.__subclasses__() for each in (child, *descendants(child))}


ONCE = [check for check in CHECKS if check not in ENGINE_CHECKS]


CASES = cases()
ON_ENGINES = [(estimator, check) for estimator in CASES for check in ENGINE_CHECKS]
Found = dict[str, list[Exception | None]]


@pytest.fixture(scope="module")
def found() -> Found:
    """What all checks found, by engine; on Spark they share their jobs."""
    return {}


@pytest.fixture(scope="module")
def fits() -> Fits:
    """The last fits on this machine: those that the checks of one estimator share."""
    return Fits()


@pytest.mark.parametrize("engine", LOCAL_ENGINES + SPARK_ENGINES, indirect=True)
@pytest.mark.parametrize(
    "number",
    range(len(ON_ENGINES)),
    ids=[f"{type(estimator).__name__}-{check.__name__}" for estimator, check in ON_ENGINES],
)
def test_on_every_engine(
    number: int, engine: EngineCase, request: pytest.FixtureRequest, found: Found, fits: Fits
) -> None:
    estimator, check = ON_ENGINES[number]
    reason = None if engine.name.startswith("local") else estimator.ranks_differ.get(check.__name__)
    if reason:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    if not engine.name.startswith("spark"):
        check(clone(estimator), replace(engine, fits=fits))
        return
    if engine.name not in found:
        found[engine.name] = run_together(ON_ENGINES, engine)
    error = found[engine.name][number]
    if error is not None:
        raise error


@pytest.mark.parametrize("check", ONCE, ids=lambda check: check.__name__)
@pytest.mark.parametrize("estimator", CASES, ids=lambda e: type(e).__name__)
def test_on_this_machine(
    estimator: Estimator, check: Check, request: pytest.FixtureRequest, fits: Fits
) -> None:
    reason = estimator.exempt.get(check.__name__)
    if reason:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    check(clone(estimator), replace(local_case(), fits=fits))
