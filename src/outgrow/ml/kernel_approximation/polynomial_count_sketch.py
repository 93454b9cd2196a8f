"""Sketches of polynomial kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.engine.shard import Shard
from outgrow.ml.base.expansion import Components
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, RANDOM_STATE, Integer, Number, numpy_random
from outgrow.ml.core.task import Task
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin

_TILE = 1 << 18
"""Numbers that are transformed at once, so that they stay in a cache."""


class PolynomialCountSketch(Components):
    """Sketches whose products are about those of the kernel (gamma * <x, y> + coef0) ** degree.

    The tensor sketch of Pham and Pagh (2013); its hashes are scikit-learn's for a whole number as
    `random_state`.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default. They are replaced by the components.
    gamma, degree, coef0 : of the kernel; `gamma` and `coef0` are at least 0.
    n_components : how many numbers a sketch has.
    random_state : another number gives other hashes; None is 0.

    Attributes
    ----------
    indexHash_, bitHash_ : ndarray of shape (degree, n_columns), the component and the sign of each column;
        with `coef0` there is one more, of ones.

    Notes
    -----
    Unlike scikit-learn: None as `random_state` is 0, so that a fit can be repeated; a negative `coef0`, of
    which there it makes NaN, is refused.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0, 2.0], [3.0, 1.0]])
    >>> Z = og.PolynomialCountSketch(degree=2, n_components=500, random_state=0).fit_transform(X)
    >>> (Z @ Z.T).round().tolist(), ((X @ X.T) ** 2).tolist()
    ([[25.0, 25.0], [25.0, 100.0]], [[25.0, 25.0], [25.0, 100.0]])
    """

    takes_sparse = True
    learns_nothing = True
    stem = "polynomialcountsketch"
    test_parameters = {"n_components": 5}
    no_exports = {"ONNX": "it multiplies Fourier transforms"}
    parameters = {
        "columns": COLUMNS,
        "gamma": Number(low=0, below=np.inf),
        "degree": Integer(low=1),
        "coef0": Number(low=0, below=np.inf),
        "n_components": Integer(low=1),
        "random_state": RANDOM_STATE,
    }
    indexHash_: np.ndarray  # noqa: N815
    bitHash_: np.ndarray  # noqa: N815

    def __init__(
        self,
        columns: Columns = None,
        *,
        gamma: float = 1.0,
        degree: int = 2,
        coef0: float = 0.0,
        n_components: int = 100,
        random_state: Any = None,
    ) -> None:
        self.columns = columns
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.n_components = n_components
        self.random_state = random_state

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        shape = (self.degree, len(self.input_names_) + (self.coef0 != 0))
        random = numpy_random(self.random_state)
        self.n_components_ = self.n_components
        self.indexHash_ = random.randint(0, high=self.n_components, size=shape)
        self.bitHash_ = random.choice(a=[-1, 1], size=shape)

    def _expanded(self, X: Any) -> np.ndarray:
        made = np.empty((X.shape[0], self.n_components_))
        sketches = self._sketches()
        step = max(1, _TILE // self.n_components_)
        for start in range(0, len(made), step):
            rows = X[start : start + step]
            whole: Any = 1.0
            for sketch, constant in sketches:
                part = rows @ sketch if is_sparse(rows) else (sketch.T @ np.asarray(rows).T).T
                part = part.toarray() if is_sparse(part) else part
                whole = whole * scipy.fft.rfft(part + constant, axis=1)
            made[start : start + step] = scipy.fft.irfft(whole, self.n_components_, axis=1)
        return made

    def _sketches(self) -> list[tuple[Any, np.ndarray]]:
        """For each factor the matrix that sketches a row, and the sketch of the constant."""
        width, made = len(self.input_names_), []
        for places, signs in zip(self.indexHash_, self.bitHash_, strict=True):
            constant = np.zeros(self.n_components_)
            constant[places[width:]] = signs[width:] * np.sqrt(self.coef0)
            entries = (np.sqrt(self.gamma) * signs[:width], places[:width], np.arange(width + 1))
            made.append((sp.csr_array(entries, shape=(width, self.n_components_)), constant))
        return made

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        chosen = {each: getattr(self, each) for each in ("gamma", "degree", "coef0")}
        made = twin("kernel_approximation.PolynomialCountSketch", **chosen, n_components=self.n_components_)
        return self._twin_in(flow, name, made, "indexHash_", "bitHash_")
