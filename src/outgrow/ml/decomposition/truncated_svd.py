"""Singular value decomposition without centring."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.linalg

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, RANDOM_STATE, Integer, Number, OneOf, Unused, seed
from outgrow.ml.core.task import Task
from outgrow.ml.decomposition.krylov import OVERSAMPLES, Krylov, column_moments, singular_directions
from outgrow.ml.decomposition.principal import covariance_moments
from outgrow.ml.decomposition.projection import WIDEST, Projection, signed
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.stats.moments import CoMoments, check_squares

_WIDEST_SPARSE = 256
"""Columns up to which products of sparse rows take no longer than passes over them."""


class TruncatedSVD(Projection):
    """Project columns on the right singular vectors of the largest singular values; nothing is centred.

    Of text that was counted or weighed (TF-IDF), this is latent semantic analysis. Up to 4,096 dense columns,
    or 256 sparse ones, the products of the columns are decomposed, from one pass over the rows. Past that,
    passes over the rows grow a space around the vectors (block Krylov), and sparse rows stay sparse.

    Parameters
    ----------
    n_components : how many singular vectors.
    columns : which columns, by name or selector; all by default. They are replaced by `truncatedsvd0`,
        `truncatedsvd1`, ...
    algorithm : where passes are made, 'arpack' makes them until `tol` is reached, and 'randomized' makes
        `n_iter` and one more, or fewer if it is exact before.
    n_iter : passes of 'randomized'.
    n_oversamples : directions beside the components in each pass.
    random_state : another number gives other directions to start from; None is 0.
    tol : of 'arpack': what may be left of a vector outside its direction, as a share of the largest squared
        singular value; 0 for next to nothing.
    power_iteration_normalizer : as scikit-learn has it; it changes nothing here.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_columns); float32 where X was an array of float32.
    singular_values_ : ndarray of shape (n_components,).
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components,): of the projections, and
        as shares of the variance of all columns.

    Notes
    -----
    Unlike scikit-learn: exact from one pass where columns are few, and 'randomized' a block Krylov method, so
    closer to the singular vectors than scikit-learn's for the same `n_iter`.

    Unlike Spark MLlib's `PCA(k)`: does not centre, as `RowMatrix.computeSVD` does not.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> og.TruncatedSVD(1).fit(X).singular_values_.round(6).tolist()
    [3.0]
    """

    stem = "truncatedsvd"
    test_parameters = {"n_components": 1}
    parameters = {
        "n_components": Integer(low=1),
        "columns": COLUMNS,
        "algorithm": OneOf("arpack", "randomized"),
        "n_iter": Integer(low=0),
        "n_oversamples": Integer(low=1),
        "power_iteration_normalizer": Unused(OneOf("auto", "OR", "LU", "none")),
        "random_state": RANDOM_STATE,
        "tol": Number(low=0),
    }

    def __init__(
        self,
        n_components: int = 2,
        *,
        columns: Columns = None,
        algorithm: str = "randomized",
        n_iter: int = 5,
        n_oversamples: int = OVERSAMPLES,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
        tol: float = 0.0,
    ) -> None:
        self.n_components = n_components
        self.columns = columns
        self.algorithm = algorithm
        self.n_iter = n_iter
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.random_state = random_state
        self.tol = tol

    def _learn_directions(self, shard: Shard, names: list[str], task: Task) -> None:
        width = len(self.input_names_)
        if self.n_components > width:
            raise DataError(
                f"n_components({self.n_components}) must be <= n_features({width}). Ask for fewer components."
            )
        sparse = is_sparse(shard.example.matrix(names))
        if width <= (_WIDEST_SPARSE if sparse else WIDEST):
            self._from_products(shard, names, task)
        else:
            self._from_rows(shard, names)

    def _from_products(self, shard: Shard, names: list[str], task: Task) -> None:
        moments = covariance_moments(shard, names, replace(task, weight=None))
        width = len(moments.mean)
        whole = moments.products + moments.n * np.outer(moments.mean, moments.mean)
        check_squares(np.diag(whole), names)
        count = min(self.n_components, int(moments.n))
        values, vectors = scipy.linalg.eigh(
            whole, subset_by_index=(width - count, width - 1), check_finite=False
        )
        self.components_ = signed(vectors.T[::-1])
        self.singular_values_ = np.sqrt(np.maximum(values[::-1], 0.0))
        along = np.sum((self.components_ @ moments.products) * self.components_, axis=1)
        self._note_variances(along, np.trace(moments.products), moments.n)

    def _from_rows(self, shard: Shard, names: list[str]) -> None:
        view = shard.matrix(MatrixSpec(tuple(names)))
        columns = column_moments(view)
        passes = self.n_iter + 1 if self.algorithm == "randomized" else None
        krylov = Krylov(passes, self.tol, self.n_oversamples, seed(self.random_state))
        count = min(self.n_components, view.rows)
        _, vectors = singular_directions(view, columns, count, krylov, centred=False)
        self.components_ = signed(vectors)
        directions = np.ascontiguousarray(self.components_.T)
        along: CoMoments = view.reduce(lambda block: CoMoments.of(np.asarray(block.X @ directions)))
        squares = np.diag(along.products)
        self.singular_values_ = np.sqrt(squares + along.n * along.mean**2)
        self._note_variances(squares, columns.m2.sum(), along.n)

    def _note_variances(self, along: np.ndarray, total: float, n: float) -> None:
        """Keep the variances of the projections, given squares about the means, theirs and of all columns."""
        self.explained_variance_ = np.maximum(along, 0.0) / n
        self.explained_variance_ratio_ = self.explained_variance_ / (float(total) / n or 1.0)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin("decomposition.TruncatedSVD", len(self.components_))
        learned = ("components_", "singular_values_", "explained_variance_", "explained_variance_ratio_")
        return self._twin_in(flow, name, with_learned(made, self, *learned))
