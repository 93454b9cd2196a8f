"""Random Fourier features."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.shard import Shard
from outgrow.ml.base.expansion import Components
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.matrices import checked_matrix
from outgrow.ml.core.parameters import COLUMNS, RANDOM_STATE, Integer, Number, OneOf, numpy_random
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.stats.moments import Moments


class RBFSampler(Components):
    """Cosines of random directions, whose products are about those of the RBF kernel.

    The directions (Rahimi and Recht 2007) are scikit-learn's for a whole number as `random_state`.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default. They are replaced by the components.
    gamma : of the kernel exp(-gamma * |x - y|^2); 'scale' for one divided by the number of columns and by the
        variance of all numbers.
    n_components : how many directions.
    random_state : another number gives other directions; None is 0.

    Attributes
    ----------
    random_weights_ : ndarray of shape (n_columns, n_components).
    random_offset_ : ndarray of shape (n_components,).
    gamma_ : the gamma that was used.

    Notes
    -----
    Unlike scikit-learn: None as `random_state` is 0, so that a fit can be repeated.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0, 1.0], [0.5, 1.0]])
    >>> Z = og.RBFSampler(gamma=1.0, n_components=20_000, random_state=1).fit_transform(X)
    >>> (Z @ Z.T).round(1).tolist(), np.exp(-0.25).round(1)
    ([[1.0, 0.8], [0.8, 1.0]], np.float64(0.8))
    """

    takes_sparse = True
    stem = "rbfsampler"
    test_parameters = {"n_components": 5}
    parameters = {
        "columns": COLUMNS,
        "gamma": Number(low=0, below=np.inf) | OneOf("scale"),
        "n_components": Integer(low=1),
        "random_state": RANDOM_STATE,
    }
    gamma_: float
    random_weights_: np.ndarray
    random_offset_: np.ndarray

    def __init__(
        self,
        columns: Columns = None,
        *,
        gamma: float | str = 1.0,
        n_components: int = 100,
        random_state: Any = None,
    ) -> None:
        self.columns = columns
        self.gamma = gamma
        self.n_components = n_components
        self.random_state = random_state

    @property
    def learns_nothing(self) -> bool:  # type: ignore[override]
        """Whether gamma is given, so that no row is looked at."""
        return self.gamma != "scale"

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        width = len(self.input_names_)
        self.gamma_ = _scale(shard, names, width) if isinstance(self.gamma, str) else float(self.gamma)
        random = numpy_random(self.random_state)
        self.n_components_ = self.n_components
        weights = random.normal(size=(width, self.n_components))
        self.random_weights_ = np.sqrt(2.0 * self.gamma_) * weights
        self.random_offset_ = random.uniform(0, 2 * np.pi, size=self.n_components)

    def _expanded(self, X: Any) -> np.ndarray:
        made = np.asarray(X @ self.random_weights_)
        made += self.random_offset_
        np.cos(made, out=made)
        made *= np.sqrt(2.0 / self.n_components_)
        return made

    def _to_onnx(self, table: Table) -> Table:
        graph, who = table.graph, type(self).__name__
        X = graph.finite(table.matrix(self.selected_, who), who, missing=False)
        made = graph.node("MatMul", X, graph.constant(self.random_weights_))
        # a cosine; older ONNX Runtime has sines of float64 alone
        offset = graph.constant(self.random_offset_[None] + np.pi / 2)
        made = graph.node("Sin", graph.node("Add", made, offset))
        factor = graph.constant(np.array([[np.sqrt(2.0 / self.n_components_)]]))
        return self._in_onnx(table, graph.node("Mul", made, factor))

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin("kernel_approximation.RBFSampler", gamma=self.gamma_, n_components=self.n_components_)
        return self._twin_in(flow, name, made, "random_weights_", "random_offset_")


def _scale(shard: Shard, names: list[str], width: int) -> float:
    """One divided by the number of columns and by the variance of all numbers."""
    moments = shard.reduce(lambda batch: Moments.of(checked_matrix(batch, names)), encoded=True)
    mean = (moments.n @ moments.mean) / moments.n.sum()
    variance = (moments.m2.sum() + moments.n @ (moments.mean - mean) ** 2) / moments.n.sum()
    return 1.0 / (width * variance) if variance > 0 else 1.0
