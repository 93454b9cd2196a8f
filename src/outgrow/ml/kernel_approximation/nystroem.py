"""Kernels by some of the rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.metrics.pairwise import pairwise_kernels

from outgrow.data.batch import Batch
from outgrow.data.hashing import seeded, source_hash
from outgrow.data.matrix import is_sparse
from outgrow.engine.context import one_blas_thread
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base.expansion import Components
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import (
    COLUMNS,
    FINITE,
    FUNCTION,
    MAPPING,
    RANDOM_STATE,
    Integer,
    Number,
    OneOf,
    Unused,
    seed,
)
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.stats.least_rows import LeastRows

_LEAST = 1e-12
"""Singular values of the kernel of the landmarks are at least so large, as in scikit-learn."""
_FEW = 512
"""Landmarks whose kernel one thread takes apart sooner than several that wait for each other."""
_TAKEN = {
    "additive_chi2": (),
    "chi2": ("gamma",),
    "cosine": (),
    "laplacian": ("gamma",),
    "linear": (),
    "poly": ("gamma", "degree", "coef0"),
    "polynomial": ("gamma", "degree", "coef0"),
    "rbf": ("gamma",),
    "sigmoid": ("gamma", "coef0"),
}
"""The kernels, and the parameters each has."""


class Nystroem(Components):
    """Numbers whose products are about those of a kernel, from its values at some rows.

    The rows (landmarks) are those of the least hash, so they are the same on every engine.

    Parameters
    ----------
    kernel : 'rbf', 'linear', 'poly', 'polynomial', 'sigmoid', 'cosine', 'laplacian', 'chi2' or
        'additive_chi2', as scikit-learn has them; or a function of two rows. A model with a function cannot
        be saved.
    columns : which columns, by name or selector; all by default. They are replaced by the components.
    gamma, coef0, degree : of the kernel, as far as it has them; None for scikit-learn's defaults.
    kernel_params : further parameters of a function, by name.
    n_components : how many landmarks.
    random_state : another number chooses other landmarks; None is 0.
    n_jobs : as scikit-learn has it, without effect.

    Attributes
    ----------
    components_ : ndarray or CSR array of shape (n_components_, n_columns), the landmarks.
    normalization_ : ndarray of shape (n_components_, n_components_), the root of the inverse of their kernel.
    n_components_ : how many there are: no more than rows.

    Notes
    -----
    Unlike scikit-learn: landmarks are chosen by hashes; `kernel='precomputed'` is not known.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> Z = og.Nystroem("linear", n_components=3).fit_transform(X)
    >>> (Z @ Z.T).round(6).tolist()
    [[0.0, 0.0, 0.0], [0.0, 1.0, 3.0], [0.0, 3.0, 9.0]]
    """

    takes_sparse = True
    stem = "nystroem"
    test_parameters = {"n_components": 5}
    parameters = {
        "kernel": OneOf(*_TAKEN) | FUNCTION,
        "columns": COLUMNS,
        "gamma": Number(low=0, below=np.inf) | None,
        "coef0": FINITE | None,
        "degree": Number(low=1, below=np.inf) | None,
        "kernel_params": MAPPING | None,
        "n_components": Integer(low=1),
        "random_state": RANDOM_STATE,
        "n_jobs": Unused(),
    }
    normalization_: np.ndarray

    def __init__(
        self,
        kernel: str | Callable[[np.ndarray, np.ndarray], float] = "rbf",
        *,
        columns: Columns = None,
        gamma: float | None = None,
        coef0: float | None = None,
        degree: float | None = None,
        kernel_params: Mapping[str, Any] | None = None,
        n_components: int = 100,
        random_state: Any = None,
        n_jobs: Any = None,
    ) -> None:
        self.kernel = kernel
        self.columns = columns
        self.gamma = gamma
        self.coef0 = coef0
        self.degree = degree
        self.kernel_params = kernel_params
        self.n_components = n_components
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _check_parameters(self) -> None:
        given = [name for name in ("gamma", "coef0", "degree") if getattr(self, name) is not None]
        if callable(self.kernel) and given:
            raise ParameterError(
                f"Don't pass gamma, coef0 or degree to Nystroem if using a callable kernel: {given} are "
                "given. Put them into kernel_params."
            )

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        number = seed(self.random_state)

        def fold(batch: Batch) -> LeastRows:
            X = self._numbers(batch, names)
            return LeastRows.of(self.n_components, X, seeded(source_hash(batch, names), number))

        found = shard.reduce(fold, encoded=True)
        self.n_components_ = len(found.key)
        if self.n_components_ < self.n_components:
            warnings.warn(
                f"n_components > n_samples. This is not possible.\nn_components was set to n_samples, "
                f"{self.n_components_}, which results in inefficient evaluation of the full kernel.",
                stacklevel=2,
            )
        self.sparse_, self.values_, self.places_, self.ends_ = (
            found.sparse,
            found.values,
            found.places,
            found.ends,
        )
        with one_blas_thread() if self.n_components_ <= _FEW else nullcontext():
            self._learn_kernel()

    def _learn_kernel(self) -> None:
        """Note what makes the kernel of the landmarks the unit matrix."""
        with np.errstate(over="ignore", invalid="ignore"):
            own = self._kernel(self.components_)
        if not np.isfinite(own).all():
            raise DataError(
                f"The {self.kernel!r} kernel of the landmarks is not finite, as its values overflow float64. "
                "Scale the columns first, for instance with StandardScaler, or choose a smaller degree."
            )
        left, sizes, right = np.linalg.svd(own)
        self.normalization_ = left / np.sqrt(np.clip(sizes, _LEAST, None)) @ right

    @property
    def components_(self) -> Any:
        """The landmarks, of shape (n_components_, n_columns)."""
        if not self.sparse_:
            return self.values_
        shape = (self.n_components_, len(self.input_names_))
        return sp.csr_array((self.values_, self.places_, self.ends_), shape=shape)

    def _settings(self) -> dict[str, Any]:
        known = () if callable(self.kernel) else _TAKEN[self.kernel]
        chosen = {name: getattr(self, name) for name in known if getattr(self, name) is not None}
        return {**(self.kernel_params or {}), **chosen}

    def _kernel(self, X: Any) -> np.ndarray:
        """The kernel of rows and of the landmarks."""
        pair = (_for_kernels(X), _for_kernels(self.components_))
        made = pairwise_kernels(*pair, metric=self.kernel, filter_params=True, **self._settings())
        return np.asarray(made.toarray() if is_sparse(made) else made, dtype=np.float64)

    def _expanded(self, X: Any) -> np.ndarray:
        if not X.shape[0]:
            return np.empty((0, self.n_components_))
        return self._kernel(X) @ self.normalization_.T

    def _to_onnx(self, table: Table) -> Table:
        graph, who = table.graph, type(self).__name__
        if callable(self.kernel) or self.kernel not in _ONNX:
            raise refusal(self, f"its kernel is {self.kernel!r}.", f"Choose one of {sorted(_ONNX)}.")
        X = graph.finite(table.matrix(self.selected_, who), who, missing=False)
        landmarks = self.components_.toarray() if self.sparse_ else self.components_
        defaults = {"gamma": 1.0 / landmarks.shape[1], "coef0": 1.0, "degree": 3}
        made = _ONNX[self.kernel](graph, X, landmarks, {**defaults, **self._settings()})
        roots = graph.constant(np.ascontiguousarray(self.normalization_.T))
        return self._in_onnx(table, graph.node("MatMul", made, roots))

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin(
            "kernel_approximation.Nystroem",
            self.kernel,
            gamma=self.gamma,
            coef0=self.coef0,
            degree=self.degree,
            kernel_params=self.kernel_params,
            n_components=1,
        )
        return self._twin_in(flow, name, made, "components_", "normalization_")


def _for_kernels(X: Any) -> Any:
    """A matrix as scikit-learn's kernels take it, some of which want short indices and memory to write to."""
    if not is_sparse(X):
        return X if X.flags.writeable else X.copy()
    places, ends = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return sp.csr_array((X.data, places, ends), shape=X.shape)


def _products(graph: Graph, X: str, landmarks: np.ndarray) -> str:
    return graph.node("MatMul", X, graph.constant(np.ascontiguousarray(landmarks.T)))


def _linear(graph: Graph, X: str, landmarks: np.ndarray, chosen: Mapping[str, float]) -> str:
    return _products(graph, X, landmarks)


def _shifted(graph: Graph, X: str, landmarks: np.ndarray, chosen: Mapping[str, float]) -> str:
    scaled = graph.node("Mul", _products(graph, X, landmarks), _number(graph, chosen["gamma"]))
    return graph.node("Add", scaled, _number(graph, chosen["coef0"]))


def _polynomial(graph: Graph, X: str, landmarks: np.ndarray, chosen: Mapping[str, float]) -> str:
    return graph.node("Pow", _shifted(graph, X, landmarks, chosen), _number(graph, chosen["degree"]))


def _sigmoid(graph: Graph, X: str, landmarks: np.ndarray, chosen: Mapping[str, float]) -> str:
    return graph.node("Tanh", _shifted(graph, X, landmarks, chosen))


def _rbf(graph: Graph, X: str, landmarks: np.ndarray, chosen: Mapping[str, float]) -> str:
    own = graph.node("MatMul", graph.node("Mul", X, X), graph.constant(np.ones((landmarks.shape[1], 1))))
    squares = graph.node("Add", own, graph.constant((landmarks**2).sum(axis=1)[None]))
    twice = graph.node("Mul", _products(graph, X, landmarks), _number(graph, 2.0))
    apart = graph.node("Max", graph.node("Sub", squares, twice), _number(graph, 0.0))
    return graph.node("Exp", graph.node("Mul", apart, _number(graph, -chosen["gamma"])))


_ONNX = {
    "linear": _linear,
    "poly": _polynomial,
    "polynomial": _polynomial,
    "rbf": _rbf,
    "sigmoid": _sigmoid,
}


def _number(graph: Graph, value: float) -> str:
    return graph.constant(np.array([[float(value)]]))
