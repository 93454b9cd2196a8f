"""What models of groups answer, each for the rows of its key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.groups.evaluation import inner_has
from outgrow.groups.routing import Router
from outgrow.groups.store import TRANSFORM
from outgrow.ml.base import DECISION, LOG_DENSITY, PREDICTION
from outgrow.ml.core.inputs import open_rows
from outgrow.ml.core.outputs import as_given
from outgrow.ml.steps import steps_of

_NAMES = {"decision_function": DECISION, "score_samples": LOG_DENSITY}


def transforms(estimator: Any) -> bool:
    """Whether an estimator changes columns, and predicts nothing."""
    last = steps_of(estimator)[-1]
    return hasattr(last, "transform") and not hasattr(last, "predict")


def _inner_transforms() -> Callable[[Callable[..., Any]], Any]:
    return available_if(lambda self: transforms(self.estimator))


class GroupAnswers:
    """The verbs of `PerGroup` with which its models answer."""

    estimator: Any
    features_: list[str]
    classes_: np.ndarray
    _router: Router
    _respond: Callable[..., Any]

    @_inner_transforms()
    def transform(self, X: Any) -> Any:
        """The rows of X, their features changed by what was learned for their key; in the form X has.

        With unseen='null', the features of rows whose key has no model become missing.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "sold": [1.0, 3.0, 10.0, 30.0]})
        >>> og.PerGroup(og.StandardScaler(), by=["shop"]).fit(sales).transform(sales)["sold"].to_pylist()
        [-1.0, 1.0, -1.0, 1.0]
        """
        check_is_fitted(self)
        return as_given(open_rows(self, X).map(self._transform), X)

    @inner_has("predict")
    def predict(self, X: Any) -> Any:
        """What the model of each row's key predicts: an array, or for lazy tables a column `prediction`.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
        ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
        >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
        >>> model.predict(sales)["prediction"].to_pylist()
        [4.0, 3.0, 8.0, 6.0]
        """
        return self._respond(X, "predict")

    @inner_has("predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes of all groups; those that a group has not seen are 0 there.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = pa.table({"shop": ["a", "a", "b"], "x": [1.0, 2.0, 1.0], "y": ["n", "y", "n"]})
        >>> model = og.PerGroup(og.DummyClassifier(), by=["shop"]).fit(rows, "y")
        >>> model.predict_proba(rows)["probability_y"].to_pylist()
        [0.5, 0.5, 0.0]
        """
        return self._respond(X, "predict_proba")

    @inner_has("decision_function")
    def decision_function(self, X: Any) -> Any:
        """Margins by the model of each row's key; for lazy tables columns `decision` or `decision_<class>`.

        They have shape (rows,) for two classes, otherwise (rows, classes), with -inf for classes that a model
        does not know.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = pa.table({"shop": ["a", "a", "b", "b"], "x": [-1.0, 1.0, 1.0, 3.0],
        ...                  "y": ["n", "y", "n", "y"]})
        >>> model = og.PerGroup(og.LinearSVC(), by=["shop"]).fit(rows, "y")
        >>> model.decision_function(rows)["decision"].to_numpy().round(2).tolist()
        [-0.8, 0.8, -0.8, 0.8]
        """
        return self._respond(X, "decision_function")

    @inner_has("score_samples")
    def score_samples(self, X: Any) -> Any:
        """The logarithm of the density by the model of each row's key; for lazy tables `log_density`.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = pa.table({"shop": ["a", "a", "b", "b"], "x": [-1.0, 1.0, 9.0, 11.0]})
        >>> model = og.PerGroup(og.GaussianMixture(), by=["shop"]).fit(rows)
        >>> model.score_samples(rows)["log_density"].to_numpy().round(2).tolist()
        [-1.42, -1.42, -1.42, -1.42]
        """
        return self._respond(X, "score_samples")

    def _transform(self, batch: Batch) -> Batch:
        changed = self._router.answer(TRANSFORM, batch)
        return batch.with_matrix(changed, self.features_)

    def _predict_batch(self, method: str, batch: Batch) -> np.ndarray:
        return self._router.answer(method, batch)

    def _prediction_names(self, method: str) -> list[str]:
        if method == "predict_proba":
            return [f"probability_{label}" for label in self.classes_]
        if method == "decision_function" and hasattr(self, "classes_") and len(self.classes_) > 2:
            return [f"{DECISION}_{label}" for label in self.classes_]
        if method in _NAMES:
            return [_NAMES[method]]
        return [PREDICTION]
