"""What principal components are read from, and what they say of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import WeightedTransformer
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.task import Task
from outgrow.ml.core.weights import weights
from outgrow.ml.decomposition.dimension import minka
from outgrow.ml.decomposition.projection import Projection, signed
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.stats.moments import CoMoments, check_squares

_FEW = 4
"""With a share of the components below one in so many, the others are not computed."""
ITERATIVE = ("arpack", "randomized")
_NARROW = 64
"""Up to so many columns all directions are found in less time than some of them."""
TINY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Variances of rows and their directions, largest first: all of them, or the first ones.

    Attributes
    ----------
    n : summed weight of the rows.
    mean : ndarray of shape (width,).
    variances : ndarray of shape (some,).
    components : ndarray of shape (some, width).
    total : the variance in all directions.
    """

    n: float
    mean: np.ndarray
    variances: np.ndarray
    components: np.ndarray
    total: float

    @classmethod
    def of(cls, moments: CoMoments, wanted: Any) -> Spectrum:
        """The spectrum of the covariances.

        Parameters
        ----------
        moments : of the rows.
        wanted : as `n_components` says it; with far fewer than columns, the others are not computed.
        """
        covariance = moments.products / (moments.n - 1)
        width = len(covariance)
        count = 0.0 if wanted is None or isinstance(wanted, str) else float(wanted)
        few = 1 <= count <= width / _FEW
        chosen: Any = {"subset_by_index": (width - int(count), width - 1)} if few else {"driver": "evd"}
        if width <= _NARROW:  # which NumPy does by the same driver, with less ado
            values, vectors = np.linalg.eigh(covariance)
        else:
            values, vectors = scipy.linalg.eigh(covariance, check_finite=False, **chosen)
        variances = np.maximum(values[::-1], 0.0)
        return cls(moments.n, moments.mean, variances, vectors.T[::-1], float(np.trace(covariance)))


def covariance_moments(shard: Shard, names: list[str], task: Task) -> CoMoments:
    """The joint moments of columns, from one pass over the rows.

    Parameters
    ----------
    shard : the rows.
    names : of the columns.
    task : says whether rows have weights.

    Raises
    ------
    DataError
        When a value is missing or infinite, or squares overflow.
    """

    def fold(batch: Batch) -> CoMoments | None:
        X = batch.matrix(names, order="K")
        check_finite(X.data if is_sparse(X) else X, "X")
        return CoMoments.of(X, weights(batch, task.weight))

    moments: CoMoments = shard.reduce(fold, encoded=True)
    check_squares(np.diag(moments.products), names)
    return moments


class PrincipalComponents(Projection, WeightedTransformer):
    """Projects on the directions in which rows vary most.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_columns); float32 where X was an array of float32.
    explained_variance_, explained_variance_ratio_, singular_values_ : ndarray of shape (n_components,).
    mean_ : ndarray of shape (n_columns,).
    noise_variance_ : mean of the variances left out.
    """

    stem = "pca"
    sklearn_class: ClassVar[str]
    """The equal of scikit-learn, as `twin` takes it."""
    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "directions without variance are arbitrary",
    )
    n_components: Any
    whiten: bool
    svd_solver = "full"
    mean_: np.ndarray
    explained_variance_: np.ndarray

    def _check_parameters(self) -> None:
        wanted = self.n_components
        if wanted is not None and not isinstance(wanted, str) and wanted > 1 and wanted != int(wanted):
            raise ParameterError(
                f"{type(self).__name__}(n_components={wanted!r}): give a whole number, or a share below 1."
            )

    def _note_spectrum(self, spectrum: Spectrum, kept: int) -> None:
        """Keep so many components."""
        rows, width, variances = int(spectrum.n), len(spectrum.mean), spectrum.variances
        self.mean_ = spectrum.mean
        self.components_ = signed(spectrum.components[:kept])
        self.explained_variance_ = variances[:kept].copy()
        self.explained_variance_ratio_ = self.explained_variance_ / (spectrum.total or 1.0)
        self.singular_values_ = np.sqrt(self.explained_variance_ * (spectrum.n - 1))
        left_out = min(rows, width) - kept
        rest = spectrum.total - variances[:kept].sum() if len(variances) < width else variances[kept:].sum()
        self.noise_variance_ = max(float(rest), 0.0) / left_out if left_out else 0.0
        self.n_components_ = kept

    def _check_rows(self, n: float) -> None:
        """Refuse too few rows, given what they weigh."""
        if n == 0:
            raise DataError("All sample weights are zero. Give at least one row a positive weight.")
        if int(n) < 2:
            raise DataError(
                f"{type(self).__name__} needs at least 2 rows to find how columns vary; there is n_samples = "
                f"{int(n)} (1 sample)."
            )

    def _count(self, variances: np.ndarray, total: float, rows: int, width: int) -> int:
        """How many components are kept.

        Parameters
        ----------
        variances : falling; all of them, unless a number is wanted or they reach the share that is.
        total : of all of them.
        rows, width : how many rows and columns there are.
        """
        least, most = int(self.svd_solver in ITERATIVE), min(rows, width) - int(self.svd_solver == "arpack")
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
            shares = np.cumsum(variances) / (total or 1.0)
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

    def _centre(self) -> np.ndarray:
        return self.mean_

    def _divisors(self) -> np.ndarray | None:
        return np.sqrt(np.maximum(self.explained_variance_, TINY)) if self.whiten else None

    def _multipliers(self) -> np.ndarray | None:
        return np.sqrt(self.explained_variance_) if self.whiten else None

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

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if self.whiten and (self.explained_variance_ < TINY).any():
            fact = "whiten=True with a component without variance."
            raise refusal(self, fact, "Choose a smaller n_components.")
        made = twin(self.sklearn_class, n_components=len(self.components_), whiten=self.whiten)
        learned = ("components_", "mean_", "n_components_", "singular_values_", "noise_variance_")
        with_learned(made, self, *learned, "explained_variance_", "explained_variance_ratio_")
        return self._twin_in(flow, name, made)
