"""Projection on random directions, which keeps distances about as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.random_projection import johnson_lindenstrauss_min_dim
from sklearn.utils.random import sample_without_replacement

from outgrow.data.matrix import is_sparse
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base.expansion import Components
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.matrices import row_count
from outgrow.ml.core.parameters import COLUMNS, FLAG, RANDOM_STATE, Integer, Number, OneOf, numpy_random
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin


class _RandomProjection(Components):
    """Projects on directions that depend on `random_state` and the number of columns alone."""

    takes_sparse = True
    test_parameters = {"n_components": 2}
    parameters = {
        "n_components": Integer(low=1) | OneOf("auto"),
        "columns": COLUMNS,
        "eps": Number(above=0, below=1),
        "random_state": RANDOM_STATE,
    }
    n_components: Any
    eps: float
    random_state: Any

    @property
    def learns_nothing(self) -> bool:  # type: ignore[override]
        """Whether the number of directions is given, so that no row is looked at."""
        return self.n_components != "auto"

    def _directions(self, random: np.random.RandomState, count: int, width: int) -> None:
        """Keep so many directions of columns."""
        raise NotImplementedError

    @property
    def components_(self) -> Any:
        """The directions, of shape (n_components_, n_columns)."""
        raise NotImplementedError

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        width = len(self.input_names_)
        self.n_components_ = self._count(shard, width)
        self._directions(numpy_random(self.random_state), self.n_components_, width)

    def _count(self, shard: Shard, width: int) -> int:
        if not isinstance(self.n_components, str):
            return int(self.n_components)
        rows = int(shard.reduce(row_count)[0])
        needed = int(johnson_lindenstrauss_min_dim(n_samples=rows, eps=self.eps))
        if needed < 1:
            raise ParameterError(
                f"eps={self.eps:f} and n_samples={rows} lead to a target dimension of {needed} which is "
                "invalid. Give n_components, or more rows."
            )
        if needed > width:
            raise ParameterError(
                f"eps={self.eps:f} and n_samples={rows} lead to a target dimension of {needed} which is "
                f"larger than the original space with n_features={width}. Give n_components, or a larger eps."
            )
        return needed

    def _to_onnx(self, table: Table) -> Table:
        graph, who = table.graph, type(self).__name__
        X = graph.finite(table.matrix(self.selected_, who), who, missing=False)
        directions = self.components_.toarray() if is_sparse(self.components_) else self.components_
        made = graph.node("MatMul", X, graph.constant(np.ascontiguousarray(directions.T)))
        return self._in_onnx(table, made)


class GaussianRandomProjection(_RandomProjection):
    """Project columns on directions whose entries are normally distributed.

    Distances stay as they are up to a share of `eps` with high probability, if there are as many components
    as 'auto' takes. The directions are scikit-learn's for a whole number as `random_state`.

    Parameters
    ----------
    n_components : how many directions; 'auto' for as many as `eps` asks for.
    columns : which columns, by name or selector; all by default. They are replaced by the components.
    eps : how far distances may be off, as a share; only used with 'auto'.
    random_state : another number gives other directions; None is 0.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_columns).
    n_components_ : how many directions there are.

    Notes
    -----
    Unlike scikit-learn: None as `random_state` is 0, so that a fit can be repeated; no inverse.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.GaussianRandomProjection(2, random_state=0).fit_transform(np.eye(3)).shape
    (3, 2)
    """

    stem = "gaussianrandomprojection"

    def __init__(
        self,
        n_components: int | str = "auto",
        *,
        columns: Columns = None,
        eps: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.columns = columns
        self.eps = eps
        self.random_state = random_state

    def _directions(self, random: np.random.RandomState, count: int, width: int) -> None:
        self.directions_ = random.normal(0.0, 1.0 / np.sqrt(count), (count, width))

    @property
    def components_(self) -> np.ndarray:
        """The directions, of shape (n_components_, n_columns)."""
        return self.directions_

    def _expanded(self, X: Any) -> np.ndarray:
        return np.asarray(X @ self.directions_.T)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin("random_projection.GaussianRandomProjection", self.n_components_)
        return self._twin_in(flow, name, made, "components_")


class SparseRandomProjection(_RandomProjection):
    """Project columns on directions most of whose entries are zero, as Li, Hastie and Church (2006) do.

    The directions are scikit-learn's for a whole number as `random_state`.

    Parameters
    ----------
    n_components : how many directions; 'auto' for as many as `eps` asks for.
    columns : which columns, by name or selector; all by default. They are replaced by the components.
    density : the share of entries that are not zero; 'auto' for one by the root of the number of columns.
    eps : how far distances may be off, as a share; only used with 'auto'.
    dense_output : give dense numbers for sparse rows, too.
    random_state : another number gives other directions; None is 0.

    Attributes
    ----------
    components_ : CSR array of shape (n_components_, n_columns).
    density_ : the share of entries that are not zero.
    n_components_ : how many directions there are.

    Notes
    -----
    Unlike scikit-learn: None as `random_state` is 0, so that a fit can be repeated; no inverse.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.SparseRandomProjection(2, random_state=0).fit_transform(np.eye(3)).shape
    (3, 2)
    """

    stem = "sparserandomprojection"
    parameters = {
        **_RandomProjection.parameters,
        "density": Number(above=0, high=1) | OneOf("auto"),
        "dense_output": FLAG,
    }

    def __init__(
        self,
        n_components: int | str = "auto",
        *,
        columns: Columns = None,
        density: float | str = "auto",
        eps: float = 0.1,
        dense_output: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.columns = columns
        self.density = density
        self.eps = eps
        self.dense_output = dense_output
        self.random_state = random_state

    def _directions(self, random: np.random.RandomState, count: int, width: int) -> None:
        self.density_ = 1 / np.sqrt(width) if isinstance(self.density, str) else float(self.density)
        if self.density_ == 1:
            signs = random.binomial(1, 0.5, (count, width)) * 2 - 1
            made = sp.csr_array(1 / np.sqrt(count) * signs)
        else:
            made = _sparse_signs(random, count, width, self.density_)
        self.values_, self.places_, self.ends_ = made.data, made.indices, made.indptr

    @property
    def components_(self) -> Any:
        """The directions, a CSR array of shape (n_components_, n_columns)."""
        shape = (self.n_components_, len(self.input_names_))
        return sp.csr_array((self.values_, self.places_, self.ends_), shape=shape)

    def _expanded(self, X: Any) -> Any:
        made = X @ self.components_.T
        return np.asarray(made.toarray()) if is_sparse(made) and self.dense_output else made

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin("random_projection.SparseRandomProjection", self.n_components_, density=self.density)
        return self._twin_in(flow, name, made, "components_")


def _sparse_signs(random: np.random.RandomState, count: int, width: int, density: float) -> Any:
    """Signs at random places, drawn in the order in which scikit-learn draws them."""
    places, ends = [], [0]
    for _ in range(count):
        some = random.binomial(width, density)
        places.append(sample_without_replacement(width, some, random_state=random))
        ends.append(ends[-1] + some)
    indices = np.concatenate(places)
    signs = random.binomial(1, 0.5, size=len(indices)) * 2 - 1
    scale = np.sqrt(1 / density) / np.sqrt(count)
    return sp.csr_array((scale * signs, indices, ends), shape=(count, width))
