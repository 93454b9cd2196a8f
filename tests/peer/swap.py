"""A pytest plugin: scikit-learn's own tests meet outgrow's classes under scikit-learn's names.

While a file of tests is imported, the classes it is about are ours wherever it may import them from. A test
counts when it makes one of them, or tries to.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.model_selection
from sklearn.utils import all_estimators

import outgrow as og
from outgrow.ml.trees.constraints import interaction_groups
from outgrow.ml.trees.plan import Stop

ROOT = Path(sklearn.__file__).resolve().parent
_HIST = ["HistGradientBoostingClassifier", "HistGradientBoostingRegressor"]
FILES = {
    "cluster/tests/test_k_means.py": ["KMeans"],
    "decomposition/tests/test_pca.py": ["PCA"],
    "ensemble/_hist_gradient_boosting/tests/test_gradient_boosting.py": _HIST,
    "ensemble/_hist_gradient_boosting/tests/test_monotonic_constraints.py": _HIST,
    "ensemble/_hist_gradient_boosting/tests/test_warm_start.py": _HIST,
    "ensemble/tests/test_forest.py": ["RandomForestClassifier", "RandomForestRegressor"],
    "ensemble/tests/test_gradient_boosting.py": ["GradientBoostingClassifier", "GradientBoostingRegressor"],
    "impute/tests/test_impute.py": ["SimpleImputer"],
    "linear_model/tests/test_base.py": ["LinearRegression"],
    "linear_model/tests/test_coordinate_descent.py": ["ElasticNet"],
    "linear_model/tests/test_sparse_coordinate_descent.py": ["ElasticNet"],
    "linear_model/tests/test_logistic.py": ["LogisticRegression"],
    "linear_model/tests/test_ridge.py": ["Ridge"],
    "model_selection/tests/test_split.py": ["KFold", "GroupKFold", "StratifiedKFold"],
    "preprocessing/tests/test_data.py": ["StandardScaler"],
    "preprocessing/tests/test_encoders.py": ["OneHotEncoder", "OrdinalEncoder"],
    "tests/test_dummy.py": ["DummyClassifier", "DummyRegressor"],
    "tests/test_pipeline.py": ["Pipeline"],
}
"""The files of scikit-learn's tests, and the classes each is about."""


@dataclass
class _Predictor:
    """A tree under the names that scikit-learn's histogram boosting has for it."""

    tree: Any

    @property
    def nodes(self) -> np.ndarray:
        tree = self.tree.tree_
        fields = {
            "value": tree.value[:, 0, 0],
            "feature_idx": tree.feature,
            "num_threshold": tree.threshold,
            "left": tree.children_left,
            "right": tree.children_right,
            "is_leaf": tree.children_left < 0,
        }
        return np.rec.fromarrays(list(fields.values()), names=list(fields))

    def get_max_depth(self) -> int:
        return int(self.tree.get_depth())

    def get_n_leaf_nodes(self) -> int:
        return int(self.tree.get_n_leaves())


def _raw_predict(model: Any, X: Any) -> np.ndarray:
    sums = model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)
    return np.reshape(sums, (len(sums), -1))


PRIVATE = {
    "_raw_predict": _raw_predict,
    "_random_seed": property(lambda model: model.seed_),
    "_should_stop": lambda model, scores: Stop(model.n_iter_no_change, model.tol).reached(np.array(scores)),
    "_check_interaction_cst": lambda model, width: interaction_groups(model.interaction_cst, width),
    "_predictors": property(lambda model: [[_Predictor(tree) for tree in row] for row in model.estimators_]),
}
"""What scikit-learn's histogram boosting calls by private names; here the same has others."""

_made: set[str] = set()
_results: dict[str, str] = {}


def ours(name: str) -> type:
    """The class of outgrow of this name; it notes that it was asked for."""
    base: type = getattr(og, name)

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        _made.add(name)
        return object.__new__(cls)

    base.__new__ = new  # type: ignore[method-assign,assignment]
    if "Forest" in name:
        base.estimator = SimpleNamespace(splitter="best")  # type: ignore[attr-defined]
    if name in _HIST:
        for private, public in PRIVATE.items():
            setattr(base, private, public)
    return base


@contextmanager
def swapped(names: list[str]) -> Iterator[None]:
    """In every module of scikit-learn that is loaded, its classes of these names are ours."""
    known = {**dict(all_estimators()), **vars(sklearn.model_selection)}
    theirs = {name: known[name] for name in names}
    changed = []
    for module in [each for name, each in sys.modules.items() if name.startswith("sklearn")]:
        for name, theirs_ in theirs.items():
            if name in OURS and vars(module).get(name) is theirs_:
                changed.append((module, name, theirs_))
                setattr(module, name, OURS[name])
    try:
        yield
    finally:
        for module, name, theirs_ in changed:
            setattr(module, name, theirs_)


OURS = {name: ours(name) for names in FILES.values() for name in names if hasattr(og, name)}


class SwappedModule(pytest.Module):
    """A file of tests that is imported while our classes stand in for theirs."""

    def collect(self) -> Any:
        with swapped(FILES.get(str(self.path.resolve().relative_to(ROOT)), [])):
            self.obj  # noqa: B018  imports it
        return super().collect()


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> Any:
    return SwappedModule.from_parent(parent, path=module_path)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _made.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and _made:
        _results[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    where = session.config.getoption("--peer-results")
    if where:
        Path(where).write_text(json.dumps(_results, indent=0, sort_keys=True))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--peer-results", default="", help="a file for the outcome of each test that counts")
