"""Principal components."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.linalg
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse, matrix_columns
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import InvertibleTransformer, WeightedTransformer
from outgrow.ml.base.invertible import KEPT_TYPES
from outgrow.ml.core.columns import Columns, require_numeric
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.inputs import open_rows
from outgrow.ml.core.outputs import collect
from outgrow.ml.core.parameters import COLUMNS, FLAG, Number, OneOf, Unused
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.core.weights import weights
from outgrow.ml.decomposition.dimension import minka
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.stats.moments import CoMoments, check_squares

WIDEST = 4096
_FEW = 4
"""With a share of the components below one in so many, the others are not computed."""
_ITERATIVE = ("arpack", "randomized")


class PCA(InvertibleTransformer, WeightedTransformer):
    """Project columns on the directions in which they vary most, from one pass over the rows.

    The matrix of covariances is decomposed, as scikit-learn's `svd_solver='covariance_eigh'` does; up to
    4,096 columns.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default. They are replaced by `pca0`, `pca1`, ..., or
        where one of these names is taken, as by another PCA before it, by `pca2_0`, `pca2_1`, ...
    n_components : how many; a number in (0, 1) for as many as explain that share; 'mle' for Minka's guess;
        None for all.
    whiten : scale the projections to unit variance.
    svd_solver : one of scikit-learn's names. There is one exact method here, so it decides only how many
        components there may be: with 'arpack' one less than rows or columns, which is then the default.
    copy, tol, iterated_power, n_oversamples, power_iteration_normalizer, random_state : as scikit-learn has
        them; they change nothing here.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_columns); float32 where X was an array of float32.
    explained_variance_, explained_variance_ratio_, singular_values_ : ndarray of shape (n_components,).
    mean_ : ndarray of shape (n_columns,).
    n_samples_ : how many rows it learned from.
    noise_variance_ : mean of the variances left out.
    input_names_ : list of the names of the columns, those of vectors spelt out.
    output_name_ : what the names of its columns begin with.

    Notes
    -----
    Unlike scikit-learn: from the covariances, in one pass; `svd_solver` decides only how many components
    there may be; at most 4,096 columns.

    Unlike Spark MLlib's `PCA(k)`: centres what it projects.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    >>> og.PCA(n_components=1).fit(X).explained_variance_ratio_.round(6).tolist()
    [1.0]
    """

    _follows_type = ("components_",)
    takes_dictionaries = True
    output_name_ = "pca"

    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "directions without variance are arbitrary",
    )
    parameters = {
        "n_components": Number(low=0) | OneOf("mle", None),
        "columns": COLUMNS,
        "copy": Unused(),
        "whiten": FLAG,
        "svd_solver": OneOf("auto", "full", "covariance_eigh", "arpack", "randomized"),
        "tol": Unused(),
        "iterated_power": Unused(),
        "n_oversamples": Unused(),
        "power_iteration_normalizer": Unused(),
        "random_state": Unused(),
    }

    def __init__(
        self,
        n_components: float | str | None = None,
        *,
        columns: Columns = None,
        copy: bool = True,
        whiten: bool = False,
        svd_solver: str = "auto",
        tol: float = 0.0,
        iterated_power: Any = "auto",
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.columns = columns
        self.copy = copy
        self.whiten = whiten
        self.svd_solver = svd_solver
        self.tol = tol
        self.iterated_power = iterated_power
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.random_state = random_state

    def _check_parameters(self) -> None:
        wanted = self.n_components
        if wanted is not None and not isinstance(wanted, str) and wanted > 1 and wanted != int(wanted):
            raise ParameterError(
                f"PCA(n_components={self.n_components!r}): give a whole number, or a share below 1."
            )

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        require_numeric(shard.example, names, "PCA")
        width = shard.example.matrix(names).shape[1] if names else 0
        if not width:
            raise DataError("PCA has no columns to project. Name some that are there, and hold values.")
        if width > WIDEST:
            raise DataError(
                f"PCA takes up to {WIDEST} columns; there are {width}. Choose fewer with columns=."
            )

        def fold(batch: Batch) -> CoMoments | None:
            X = batch.matrix(names, order="K")
            check_finite(X.data if is_sparse(X) else X, "X")
            return CoMoments.of(X, weights(batch, task.weight))

        moments: CoMoments = shard.reduce(fold, encoded=True)
        check_squares(np.diag(moments.products), names)
        self._decompose(moments, int(moments.n), width)
        self.input_names_ = list(column_names(shard.example.select(names)))
        others = shard.example.drop(names)
        taken = {*others.columns, *column_names(others)}
        self.output_name_ = _free_stem(taken, self.n_components_)

    def _decompose(self, moments: CoMoments, rows: int, width: int) -> None:
        if moments.n == 0:
            raise DataError("All sample weights are zero. Give at least one row a positive weight.")
        if rows < 2:
            raise DataError(
                f"PCA needs at least 2 rows to find how columns vary; there is n_samples = {rows} (1 sample)."
            )
        covariance = moments.products / (moments.n - 1)
        variances, components = self._directions(covariance)
        sizes = np.abs(components)
        # the first of equals, as rounding must not choose the sign
        largest = np.argmax(sizes >= sizes.max(axis=1, keepdims=True) * (1 - 1e-9), axis=1)
        components *= np.sign(components[np.arange(len(components)), largest])[:, None]
        kept = self._count(variances, rows, width)
        self.mean_ = moments.mean
        self.components_ = np.ascontiguousarray(components[:kept])
        self.explained_variance_ = variances[:kept].copy()
        total = float(np.trace(covariance))
        self.explained_variance_ratio_ = self.explained_variance_ / (total if total > 0 else 1.0)
        self.singular_values_ = np.sqrt(self.explained_variance_ * (moments.n - 1))
        left_out = min(rows, width) - kept
        rest = total - variances[:kept].sum() if len(variances) < width else variances[kept:].sum()
        self.noise_variance_ = max(float(rest), 0.0) / left_out if left_out else 0.0
        self.n_components_ = kept
        self.n_samples_ = rows

    def _directions(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variances and components, largest first: all, or where far fewer are wanted, those alone."""
        width, wanted = len(covariance), self.n_components
        count = 0.0 if wanted is None or isinstance(wanted, str) else float(wanted)
        few = 1 <= count <= width / _FEW
        chosen: Any = {"subset_by_index": (width - int(count), width - 1)} if few else {"driver": "evd"}
        values, vectors = scipy.linalg.eigh(covariance, check_finite=False, **chosen)
        return np.maximum(values[::-1], 0.0), vectors.T[::-1]

    def _count(self, variances: np.ndarray, rows: int, width: int) -> int:
        least, most = int(self.svd_solver in _ITERATIVE), min(rows, width) - int(self.svd_solver == "arpack")
        if self.n_components is None:
            return most
        if isinstance(self.n_components, str):
            if rows < width:
                raise DataError(
                    f"n_components='mle' is only supported if n_samples >= n_features; there are "
                    f"{rows} rows of {width} columns."
                )
            return minka(variances, rows)
        if 0 < self.n_components < 1:
            shares = np.cumsum(variances) / variances.sum()
            return min(most, int(np.searchsorted(shares, self.n_components, side="right")) + 1)
        if not least <= self.n_components <= most:
            raise DataError(self._out_of_range(float(self.n_components), least, min(rows, width), most))
        return int(self.n_components)

    def _out_of_range(self, wanted: float, least: int, end: int, most: int) -> str:
        solver = "full" if self.svd_solver == "auto" else self.svd_solver
        bounds = (
            f"strictly less than min(n_samples, n_features)={end}"
            if most < end <= wanted
            else f"between {least} and min(n_samples, n_features)={end}"
        )
        return (
            f"n_components={self.n_components} must be {bounds} with svd_solver={solver!r}. "
            "Ask for another number, or give more rows or columns."
        )

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        X = batch.matrix(names)
        check_finite(X.data if is_sparse(X) else X, "X")
        projected = np.asarray(X @ self.components_.T) - self.mean_ @ self.components_.T
        if self.whiten:
            projected /= np.sqrt(np.maximum(self.explained_variance_, np.finfo(np.float64).eps))
        return batch.replace(names, matrix_columns(projected, self._output_names))

    @property
    def _output_names(self) -> list[str]:
        return _names(self.output_name_, len(self.components_))

    def _revert(self, batch: Batch) -> Batch:
        made = self._output_names
        X = batch.matrix(made)
        if self.whiten:
            X = X * np.sqrt(self.explained_variance_)
        return batch.replace(made, matrix_columns(X @ self.components_ + self.mean_, self.input_names_))

    def get_covariance(self) -> np.ndarray:
        """The covariances of the columns as the components tell them, with equal noise in all directions.

        They are those of the rows, whether or not the projections are whitened.

        Returns
        -------
        ndarray of shape (columns, columns).

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> X = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]])
        >>> og.PCA().fit(X).get_covariance().round(6).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
        """
        check_is_fitted(self)
        apart = np.maximum(self.explained_variance_ - self.noise_variance_, 0.0)
        noise = self.noise_variance_ * np.eye(self.components_.shape[1])
        return (self.components_.T * apart) @ self.components_ + noise

    def get_precision(self) -> np.ndarray:
        """The inverse of `get_covariance`."""
        return np.asarray(scipy.linalg.pinvh(self.get_covariance()))

    def score_samples(self, X: Any) -> np.ndarray:
        """The log-likelihood of each row under the Gaussian of `get_covariance`, of shape (rows,).

        The source is Tipping and Bishop, "Mixtures of probabilistic principal component analysers" (1999).

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> X = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]])
        >>> og.PCA().fit(X).score_samples(X[:1]).round(4).tolist()
        [-2.3607]
        """
        check_is_fitted(self)
        precision = self.get_precision()
        constant = len(precision) * np.log(2 * np.pi) - np.linalg.slogdet(precision)[1]
        rows = open_rows(self, X)

        def likelihood(batch: Batch) -> np.ndarray:
            centred = np.asarray(_dense(batch.matrix(self.selected_))) - self.mean_
            return np.asarray(-0.5 * (np.sum(centred * (centred @ precision), axis=1) + constant))

        return np.asarray(collect(rows, likelihood))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log-likelihood of rows, as `score_samples` finds that of each.

        Parameters
        ----------
        X : as for `score_samples`.
        y : ignored.
        """
        return float(self.score_samples(X).mean())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = KEPT_TYPES
        return tags

    def _to_onnx(self, table: Table) -> Table:
        graph = table.graph
        X = graph.finite(table.matrix(self.selected_, "PCA"), "PCA", missing=False)
        components = self.components_.astype(np.float64)
        Z = graph.node("MatMul", X, graph.constant(components.T))
        Z = graph.node("Sub", Z, graph.constant((self.mean_ @ components.T)[None, :]))
        if self.whiten:
            variances = np.maximum(self.explained_variance_, np.finfo(np.float64).eps)
            Z = graph.node("Div", Z, graph.constant(np.sqrt(variances)[None, :]))
        names = self._output_names
        parts = graph.split(Z, [1] * len(names))
        return table.replace(self.selected_, {n: Column(part) for n, part in zip(names, parts, strict=True)})

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if self.whiten and (self.explained_variance_ < np.finfo(np.float64).eps).any():
            fact = "whiten=True with a component without variance."
            raise refusal(self, fact, "Choose a smaller n_components.")
        made = twin("decomposition.PCA", n_components=len(self.components_), whiten=self.whiten)
        learned = ("components_", "mean_", "n_components_", "singular_values_", "noise_variance_")
        with_learned(made, self, *learned, "explained_variance_", "explained_variance_ratio_")
        block = flow.block(self.selected_, name, made)
        made.n_features_in_ = len(block.labels)
        if flow.frame:
            made.feature_names_in_ = np.array(block.labels, dtype=object)
        block.makes = [(column, 1) for column in self._output_names]
        return flow.then(name, flow.beside(self.selected_, [block]))


def _dense(X: Any) -> np.ndarray:
    return X.toarray() if is_sparse(X) else X


def _names(stem: str, count: int) -> list[str]:
    return [f"{stem}{i}" for i in range(count)]


def _free_stem(taken: set[str], count: int) -> str:
    """`pca`, or `pca2_` and so on: the first under which all names are free."""
    stems = itertools.chain(["pca"], (f"pca{number}_" for number in itertools.count(2)))
    return next(stem for stem in stems if taken.isdisjoint(_names(stem, count)))
