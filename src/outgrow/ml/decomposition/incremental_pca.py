"""Principal components that learn on."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.base import GrowingTransformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, FLAG, Integer, Unused
from outgrow.ml.core.task import Task
from outgrow.ml.decomposition.principal import PrincipalComponents, Spectrum, covariance_moments
from outgrow.ml.decomposition.projection import WIDEST
from outgrow.stats.moments import CoMoments


class IncrementalPCA(PrincipalComponents, GrowingTransformer):
    """Project columns on the directions in which they vary most, and learn on from further rows.

    The state is the matrix of covariances, so what `partial_fit` learns in any number of parts is what `PCA`
    learns from all rows at once. It stays with the model, as 8 bytes for each pair of columns. As long as the
    parts have had fewer rows than `n_components`, there are as many components as rows.

    Parameters
    ----------
    n_components : how many; None for all.
    columns : which columns, by name or selector; all by default. They are replaced by `incrementalpca0`,
        `incrementalpca1`, ...
    whiten : scale the projections to unit variance.
    copy, batch_size : as scikit-learn has them; they change nothing here.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_columns); float32 where X was an array of float32.
    explained_variance_, explained_variance_ratio_, singular_values_ : ndarray of shape (n_components,).
    mean_, var_ : ndarray of shape (n_columns,).
    noise_variance_ : mean of the variances left out.
    n_samples_seen_ : how many rows it learned from.
    products_ : ndarray of shape (n_columns, n_columns), of the columns about their means.

    Notes
    -----
    Unlike scikit-learn: exact, however many components are left out and however rows come; takes weights;
    up to 4,096 columns.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [7.0, 4.0]])
    >>> grown = og.IncrementalPCA(1).partial_fit(X[:2]).partial_fit(X[2:])
    >>> np.allclose(grown.components_, og.PCA(1).fit(X).components_)
    True
    """

    stem = "incrementalpca"
    sklearn_class = "decomposition.IncrementalPCA"
    expected_failed_checks = PrincipalComponents.expected_failed_checks
    parameters = {
        "n_components": Integer(low=1) | None,
        "columns": COLUMNS,
        "whiten": FLAG,
        "copy": Unused(),
        "batch_size": Unused(Integer(low=1) | None),
    }
    n_samples_seen_: float
    products_: np.ndarray

    def __init__(
        self,
        n_components: int | None = None,
        *,
        columns: Columns = None,
        whiten: bool = False,
        copy: bool = True,
        batch_size: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.columns = columns
        self.whiten = whiten
        self.copy = copy
        self.batch_size = batch_size

    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, check_input: bool = True
    ) -> Self:
        """Learn from further rows: what results is what `fit` would learn from all rows together.

        Parameters
        ----------
        X, y, sample_weight : as `fit` takes them.
        check_input : without effect: rows are always checked.
        """
        return self._learn_more(X, y, sample_weight)

    def _learn_directions(self, shard: Shard, names: list[str], task: Task) -> None:
        width = len(self.input_names_)
        if width > WIDEST:
            raise DataError(
                f"IncrementalPCA keeps the products of up to {WIDEST} columns; there are {width}. Choose "
                "fewer with columns=, or learn from all rows at once with PCA."
            )
        moments = self._grown(covariance_moments(shard, names, task))
        rows, started = int(moments.n), self._grows and 0 < moments.n < 2
        if not started:
            self._check_rows(moments.n)
        self.n_samples_seen_ = rows if moments.n.is_integer() else moments.n
        self.products_ = moments.products
        self.var_ = np.diag(moments.products) / moments.n
        spectrum = _none(moments) if started else Spectrum.of(moments, self.n_components)
        self._note_spectrum(spectrum, self._kept(spectrum, rows, width))

    def _kept(self, spectrum: Spectrum, rows: int, width: int) -> int:
        """How many components are kept: while rows come in parts, as many as there are yet."""
        if not self._grows:
            return self._count(spectrum.variances, spectrum.total, rows, width)
        return min(self.n_components or width, rows, len(spectrum.variances))

    def _noted(self) -> CoMoments:
        return CoMoments(float(self.n_samples_seen_), self.mean_, self.products_)


def _none(moments: CoMoments) -> Spectrum:
    """The spectrum of one row, which has no variances yet."""
    width = len(moments.mean)
    return Spectrum(moments.n, moments.mean, np.zeros(0), np.zeros((0, width)), 0.0)
