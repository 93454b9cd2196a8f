"""What models share of which each learns one target from the features and the targets before it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.base import clone

from outgrow.data.batch import Batch
from outgrow.data.kind import NUMBER
from outgrow.data.matrix import is_sparse
from outgrow.data.names import numbered
from outgrow.engine.blocks import Block
from outgrow.engine.checks import check_finite
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError, SchemaError
from outgrow.ml.base import Model
from outgrow.ml.core.parameters import LIST, RANDOM_STATE, OneOf, Unused, numpy_random
from outgrow.ml.core.task import Task, promised_example
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.meta.multi_output import MultiOutput
from outgrow.ml.meta.parts import ESTIMATOR, NO_FOLDS
from outgrow.ml.meta.several import learned_of
from outgrow.ml.meta.whole_pipeline import is_pipeline

RANDOM = "random"
PARAMETERS = {
    "estimator": ESTIMATOR,
    "order": OneOf(RANDOM, None) | LIST,
    "cv": OneOf(None),
    "random_state": RANDOM_STATE,
    "verbose": Unused(),
}


class Chain(MultiOutput):
    """One model for each target, which also learns from the targets that come before it in an order."""

    expected_failed_checks = dict.fromkeys(NO_FOLDS, "cv is None; folds that are given are not taken")
    order: Any
    random_state: Any
    order_: np.ndarray
    width_: int

    def _order_of(self, targets: int) -> np.ndarray:
        """The targets in the order of the chain."""
        if self.order is None:
            return np.arange(targets)
        if isinstance(self.order, str):
            return numpy_random(self.random_state).permutation(targets)
        order = np.asarray(self.order)
        if order.dtype.kind not in "iu" or sorted(order.tolist()) != list(range(targets)):
            raise ParameterError(
                f"invalid order: order={self.order!r} must have each of the numbers from 0 to {targets - 1} "
                "once, one for each target."
            )
        return order.astype(np.intp)

    # ---- learn -------------------------------------------------------------------------------------------

    def _with_targets(self, view: MatrixView, targets: np.ndarray | None) -> MatrixView:
        """The rows with all targets but the last of the order as further features, copied.

        Parameters
        ----------
        view : the rows.
        targets : of shape (classes, targets), the number that each class of the view stands for; None where
            y are numbers.
        """
        before = self.order_[:-1]
        if not len(before):
            return view

        def change(block: Block) -> Block:
            y = np.asarray(block.y)
            values = y if targets is None else targets[y]
            X = beside(block.X, [values[:, k] for k in before], self._noted._by_rows)
            return replace(block, X=X, source=block.source_hashes())

        return view.mapped(change, view.width + len(before))

    def _learn_links(self, view: MatrixView, wide: MatrixView, links: Sequence[MatrixView]) -> None:
        """Let each model learn from its own target and the features before it.

        Parameters
        ----------
        view : the rows as they came.
        wide : the rows that have the targets as features, too.
        links : the same with one target each, in the order of the chain.
        """
        if getattr(self._noted, "categories_", None):
            raise SchemaError(
                f"{type(self).__name__} puts targets beside numbers, and some columns are text. Put an "
                "encoder before it."
            )
        self.width_ = view.width
        views = [own.narrowed(np.arange(view.width + k)) for k, own in enumerate(links)]
        self._learn_targets(view.run, views, [self._link(view.run, k) for k in range(len(links))])
        if wide is not view:
            wide.tiles.release()

    def _link(self, run: FitContext, k: int) -> Any:
        """A model that has noted the columns that it will get."""
        kinds = self._kinds(k)
        if is_pipeline(self._noted):
            part = copy.copy(self._noted)  # with what it noted of text and times
            part.columns_, part.features_, part.n_features_in_ = kinds, list(kinds), len(kinds)
            if hasattr(part, "feature_names_in_"):
                part.feature_names_in_ = np.array(list(kinds), dtype=object)
            return part
        part = clone(self._inner)
        task = Task(None, None, tuple(kinds))
        shard = Shard.of(run, [], promised_example(kinds))
        part._expect(kinds)
        part._expect_features(part._prepared(shard, task), task)
        return part

    def _kinds(self, k: int) -> dict[str, Any]:
        """The columns of a model of the chain."""
        before = {f"x{j}": NUMBER for j in range(self.width_)}
        if is_pipeline(self._inner):  # whose steps know columns by their names
            columns = self.columns_ if self._noted is None else self._noted.columns_
            before = {name: columns[name] for name in self.features_}
        return before | dict.fromkeys(self._target_columns(k), NUMBER)

    def _target_columns(self, k: int) -> list[str]:
        """The columns of the targets before the one of a model of the chain."""
        taken = list(self.features_) if is_pipeline(self._inner) else []
        names: list[str] = []
        for j in self.order_[:k]:
            names.append(numbered(f"target{j}", [*taken, *names]))
        return names

    def _handed(self, X: Any, k: int, columns: Sequence[np.ndarray]) -> Any:
        """The rows as a model of the chain gets them.

        Parameters
        ----------
        X : what `_matrix` gave.
        k : its place.
        columns : what the models before it answered.
        """
        if not isinstance(X, Batch):
            return beside(X, columns, self._parts[k]._by_rows)
        pairs = zip(self._target_columns(k), columns, strict=True)
        return X.with_columns({name: pa.array(np.asarray(v, dtype=np.float64)) for name, v in pairs})

    def _keep(self, parts: Sequence[Any]) -> None:
        self._parts, self.common_ = parts, {}
        self.learned_ = [learned_of(part) for part in parts]

    def _restored(self) -> None:
        if hasattr(self, "learned_"):
            self._parts = [self._restored_link(own, k) for k, own in enumerate(self.learned_)]

    def _restored_link(self, learned: dict[str, Any], k: int) -> Any:
        part, kinds = clone(self._inner), self._kinds(k)
        part._trusted = self._trusted
        part._restore({**learned, "columns_": kinds})
        part.n_features_in_ = len(kinds)
        return part

    # ---- answer ------------------------------------------------------------------------------------------

    def _matrix(self, batch: Batch) -> Any:
        part = self._parts[0]
        if is_pipeline(part):
            return part._matrix(batch)
        X = batch.matrix(self.features_, order="C" if part._by_rows else "F")
        check_finite(X.data if is_sparse(X) else X, "X", missing=part._missing)
        return X

    # ---- export ------------------------------------------------------------------------------------------

    def _used_features(self) -> list[str]:
        return self.features_

    def _sklearn_features(self, flow: Flow) -> Flow:
        return Model._sklearn_features(self, flow)

    def _name_features(self, made: Any, names: np.ndarray) -> None:
        made.feature_names_in_ = names  # scikit-learn's hands on arrays

    def _filled(self, made: Any, twins: Sequence[Any]) -> Any:
        """scikit-learn's object, fitted."""
        made.estimators_, made.order_ = list(twins), self.order_.tolist()
        return made


def beside(X: Any, columns: Sequence[np.ndarray], by_rows: bool) -> Any:
    """Features with further ones behind them.

    Parameters
    ----------
    X : dense or CSR, of shape (rows, width).
    columns : each of shape (rows,).
    by_rows : whether a dense matrix has its rows one after the other in memory.
    """
    if not columns:
        return X
    new = np.column_stack(columns).astype(np.float64)
    if is_sparse(X):
        return sp.hstack([X, sp.csr_array(new)], format="csr")
    return np.asarray(np.hstack([X, new]), order="C" if by_rows else "F")
