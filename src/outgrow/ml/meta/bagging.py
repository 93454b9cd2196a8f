"""What models share that are many copies of one, each of which learned from its own sample of the rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.hashing import mix, seeded
from outgrow.data.kind import NUMBER
from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.engine.context import FitContext
from outgrow.engine.identified import identified
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.engine.together import side_by_side
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.base import Model
from outgrow.ml.core.parameters import FLAG, RANDOM_STATE, Integer, Share, Unused, seed
from outgrow.ml.core.task import Task, promised_example
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.meta.copies import Copy
from outgrow.ml.meta.pairs import AT_ONCE
from outgrow.ml.meta.parts import ESTIMATOR, AroundModel
from outgrow.ml.meta.several import learned_of
from outgrow.ml.meta.whole_pipeline import as_given, is_pipeline

PARAMETERS = {
    "estimator": ESTIMATOR | None,
    "n_estimators": Integer(low=1),
    "max_samples": Share(above=0, high=1) | Integer(low=1) | None,
    "max_features": Share(above=0, high=1) | Integer(low=1),
    "bootstrap": FLAG,
    "n_jobs": Unused(),
    "random_state": RANDOM_STATE,
    "verbose": Unused(),
}


class Bagging(AroundModel):
    """Copies of a model that learn side by side, each from its own rows and features."""

    exempt = {"weights_are_repetitions": "sampling draws rows, not weights"}
    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "sampling draws rows, not weights",
    )
    n_estimators: int
    max_samples: float | None
    max_features: float
    bootstrap: bool
    random_state: Any
    seed_: int
    estimators_features_: list[np.ndarray]
    narrow_: bool
    """Whether the models learn from some of the features each."""

    @property
    def estimators_(self) -> list[Any]:
        """The fitted models."""
        check_is_fitted(self)
        return as_given(self._parts)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if is_classifier(self._inner) != is_classifier(self):
            kind = "classifier" if is_classifier(self) else "regressor"
            raise ParameterError(
                f"{type(self).__name__}(estimator=...): the estimator {type(self._inner).__name__} should be "
                f"a {kind}."
            )

    # ---- learn -------------------------------------------------------------------------------------------

    def _learn_copies(self, view: MatrixView) -> None:
        self.seed_ = seed(self.random_state)
        self.estimators_features_ = self._choices(view.width)
        self.narrow_ = len(self.estimators_features_[0]) < view.width
        mean, rows = self._mean(view.rows), identified(view)
        parts = [self._prepared_part(view.run, k) for k in range(self.n_estimators)]

        def work(k: int) -> Callable[[FitContext], None]:
            drawn = Copy(self.seed_ + (self._depth << 32), k, mean, replacement=self.bootstrap)

            def fit(run: FitContext) -> None:
                own = drawn.of(rows.on(run))
                parts[k]._fit(own.narrowed(self.estimators_features_[k]) if self.narrow_ else own)

            return fit

        works = [work(k) for k in range(len(parts))]
        for start in range(0, len(works), AT_ONCE):
            side_by_side(view.run, works[start : start + AT_ONCE])
        rows.tiles.release()
        self._keep(parts)

    def _mean(self, rows: int) -> float:
        """How often a copy has a row on average."""
        wish = 1.0 if self.max_samples is None else self.max_samples
        if not isinstance(wish, Integral):
            return float(wish)
        if wish > rows and not self.bootstrap:
            raise DataError(f"max_samples={wish} must be <= n_samples={rows}, as no row is drawn twice.")
        return float(wish) / rows

    def _choices(self, every: int) -> list[np.ndarray]:
        """The features of each model: those of least hash."""
        wish = self.max_features
        count = int(wish) if isinstance(wish, Integral) else max(1, int(wish * every))
        if count > every:
            raise DataError(f"max_features={wish} must be <= n_features={every}. Give a smaller number.")
        if count == every:
            return [np.arange(every)] * self.n_estimators
        base = seeded(mix(np.arange(every, dtype=np.uint64)), self.seed_)
        orders = (np.argsort(seeded(base, k), kind="stable") for k in range(self.n_estimators))
        return [np.sort(order[:count]) for order in orders]

    def _prepared_part(self, run: FitContext, k: int) -> Any:
        """A model that has noted the columns that it will get."""
        part = copy.copy(self._noted)
        if self.narrow_:
            if is_pipeline(part):
                raise ParameterError(
                    f"{type(self).__name__}(max_features={self.max_features}) chooses among numbers, which "
                    "are not those that a pipeline takes. Choose max_features=1.0."
                )
            if getattr(part, "categories_", None):
                raise SchemaError(
                    f"{type(self).__name__}(max_features={self.max_features}) chooses among numbers, "
                    "and some columns are text. Put an encoder before it, or choose max_features=1.0."
                )
            part, kinds = clone(self._inner), self._kinds(k)
            example, task = promised_example(kinds), Task(None, None, tuple(kinds))
            part._expect(kinds)
            part._expect_features(part._prepared(Shard.of(run, [], example), task), task)
        return self._told_apart(part, k)

    def _kinds(self, k: int) -> dict[str, Any]:
        """The columns of one of the models that learn from some features."""
        return {f"x{j}": NUMBER for j in self.estimators_features_[k]}

    def _told_apart(self, part: Any, k: int) -> Any:
        """The part with a random state of its own, where it has one."""
        if "random_state" in part.get_params(deep=False):
            part.set_params(random_state=int((self.seed_ + k) % np.iinfo(np.int32).max))
        return part

    def _keep(self, parts: Sequence[Any]) -> None:
        if not self.narrow_:
            super()._keep(parts)
            return
        self._parts, self.common_ = parts, {}
        self.learned_ = [learned_of(part) for part in parts]

    def _restored(self) -> None:
        if not hasattr(self, "learned_"):
            return
        self._parts = [self._restored_part(own, k) for k, own in enumerate(self.learned_)]

    def _restored_part(self, learned: dict[str, Any], k: int) -> Any:
        if not self.narrow_:
            return self._told_apart(self._part(learned), k)
        part, kinds = clone(self._inner), self._kinds(k)
        part._trusted = self._trusted
        part._restore({**learned, "columns_": kinds})
        part.n_features_in_ = len(kinds)
        return self._told_apart(part, k)

    # ---- answer ------------------------------------------------------------------------------------------

    def _matrix(self, batch: Batch) -> Any:
        if not self.narrow_:
            return super()._matrix(batch)
        part = self._parts[0]
        X = batch.matrix(self.features_, order="C" if part._by_rows else "F")
        check_finite(X.data if is_sparse(X) else X, "X", missing=part._missing)
        return X

    def _each(self, X: Any, method: str) -> list[np.ndarray]:
        """What each model says of rows."""
        return [
            np.asarray(getattr(part, method)(self._columns_of(part, X, columns)))
            for part, columns in zip(self._parts, self.estimators_features_, strict=True)
        ]

    def _columns_of(self, part: Any, X: Any, columns: np.ndarray) -> Any:
        """The features of one model."""
        if not self.narrow_:
            return X
        order = "C" if part._by_rows else "F"
        return X[:, columns] if is_sparse(X) else np.asarray(X[:, columns], order=order)  # type: ignore[call-overload]

    # ---- export ------------------------------------------------------------------------------------------

    def _used_features(self) -> list[str]:
        return self.features_ if self.narrow_ else super()._used_features()

    def _sklearn_features(self, flow: Flow) -> Flow:
        return Model._sklearn_features(self, flow) if self.narrow_ else super()._sklearn_features(flow)

    def _name_features(self, made: Any, names: np.ndarray) -> None:
        made.feature_names_in_ = names  # scikit-learn's hands on arrays

    def _tables(self, table: Table) -> list[Table]:
        """The columns that each model gets, in a graph."""
        if not self.narrow_:
            return [table] * len(self._parts)
        graph, whole = table.graph, table.matrix(self.features_, type(self).__name__)
        return [
            Table(
                graph,
                {
                    f"x{j}": Column(graph.node("Gather", whole, graph.constant([int(j)]), axis=1))
                    for j in columns
                },
            )
            for columns in self.estimators_features_
        ]

    def _filled(self, made: Any) -> Any:
        """scikit-learn's object, fitted."""
        made.estimators_ = [self._sklearn_part(part) for part in self._parts]
        made.estimator_ = made.estimators_[0]
        made.estimators_features_ = list(self.estimators_features_)
        return made
