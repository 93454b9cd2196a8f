"""Principal components."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.inputs import open_rows
from outgrow.ml.core.outputs import collect
from outgrow.ml.core.parameters import COLUMNS, FLAG, RANDOM_STATE, Integer, Number, OneOf, Unused, seed
from outgrow.ml.core.task import Task
from outgrow.ml.decomposition.krylov import OVERSAMPLES, Krylov, column_moments, singular_directions
from outgrow.ml.decomposition.principal import PrincipalComponents, Spectrum, covariance_moments
from outgrow.ml.decomposition.projection import WIDEST

_WIDEST_SPARSE = 256
"""Columns up to which products of sparse rows take no longer than passes over them."""
_MOST = 4096
"""Components that are found in passes over the rows."""
_FIRST, _MORE = 16, 4
"""Components that are looked at first where a share is wanted, and how many times as many next."""


class PCA(PrincipalComponents):
    """Project columns on the directions in which they vary most.

    Up to 4,096 columns, the matrix of covariances is decomposed, from one pass over the rows, as
    scikit-learn's `svd_solver='covariance_eigh'` does. Past that, and for few components of sparse rows,
    passes over the rows grow a space around the directions (block Krylov); sparse rows are centred without
    ever being dense.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default. They are replaced by `pca0`, `pca1`, ..., or
        where one of these names is taken, as by another PCA before it, by `pca2_0`, `pca2_1`, ...
    n_components : how many; a number in (0, 1) for as many as explain that share; 'mle' for Minka's guess;
        None for all.
    whiten : scale the projections to unit variance.
    svd_solver : 'full' and 'covariance_eigh' decompose covariances, so they take up to 4,096 columns. Where
        passes are made, 'arpack' and 'auto' make them until `tol` is reached, 'randomized' makes
        `iterated_power` and one more. With 'arpack' there may be one component less than rows or columns,
        which is then the default.
    tol : where passes are made, what may be left of a component outside its direction, as a share of the
        largest variance; 0 for next to nothing.
    iterated_power : passes of 'randomized'; 'auto' for 7 where a tenth of all components is not reached, and
        4 otherwise.
    n_oversamples : directions beside the components in each pass.
    random_state : another number gives other directions to start from; None is 0.
    copy, power_iteration_normalizer : as scikit-learn has them; they change nothing here.

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
    Unlike scikit-learn: up to 4,096 dense columns from the covariances in one pass, whatever `svd_solver`
    says; past that all solvers but 'full' are block Krylov methods.

    Unlike Spark MLlib's `PCA(k)`: centres what it projects.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    >>> og.PCA(n_components=1).fit(X).explained_variance_ratio_.round(6).tolist()
    [1.0]
    """

    sklearn_class = "decomposition.PCA"
    parameters = {
        "n_components": Number(low=0) | OneOf("mle", None),
        "columns": COLUMNS,
        "copy": Unused(),
        "whiten": FLAG,
        "svd_solver": OneOf("auto", "full", "covariance_eigh", "arpack", "randomized"),
        "tol": Number(low=0),
        "iterated_power": Integer(low=0) | OneOf("auto"),
        "n_oversamples": Integer(low=1),
        "power_iteration_normalizer": Unused(),
        "random_state": RANDOM_STATE,
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
        n_oversamples: int = OVERSAMPLES,
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

    def _learn_directions(self, shard: Shard, names: list[str], task: Task) -> None:
        if self._from_products(is_sparse(shard.example.matrix(names))):
            moments = covariance_moments(shard, names, task)
            self._check_rows(moments.n)
            spectrum = Spectrum.of(moments, self.n_components)
            rows, width = int(spectrum.n), len(spectrum.mean)
            kept = self._count(spectrum.variances, spectrum.total, rows, width)
        else:
            spectrum, kept = self._spectrum_of_rows(shard, names, task)
        self._note_spectrum(spectrum, kept)
        self.n_samples_ = int(spectrum.n)

    def _from_products(self, sparse: bool) -> bool:
        """Whether the covariances are made, rather than passes over the rows: for all components of few
        columns, or those of dense ones."""
        width, wanted = len(self.input_names_), self.n_components
        if width > WIDEST and (wanted == "mle" or self.svd_solver in ("full", "covariance_eigh")):
            raise DataError(
                f"PCA with n_components={wanted!r} and svd_solver={self.svd_solver!r} decomposes covariances "
                f"of up to {WIDEST} columns; there are {width}. Give n_components as a number, with "
                "svd_solver='auto', or choose fewer columns with columns=."
            )
        counted = wanted is not None and not isinstance(wanted, str) and 1 <= wanted <= width / 4
        return width <= (_WIDEST_SPARSE if sparse and counted else WIDEST)

    def _spectrum_of_rows(self, shard: Shard, names: list[str], task: Task) -> tuple[Spectrum, int]:
        """The first variances, found in passes over the rows, and how many components are kept."""
        view = shard.matrix(MatrixSpec(tuple(names), weight=task.weight))
        moments = column_moments(view)
        n, width = float(moments.n[0]), view.width
        self._check_rows(n)
        total, wanted = float(moments.m2.sum()) / (n - 1), self.n_components
        share = wanted is not None and 0 < wanted < 1
        kept = _FIRST if share else self._count(np.zeros(0), total, int(n), width)
        while True:
            count = min(kept, int(n), width)
            if count > _MOST:
                raise DataError(
                    f"PCA(n_components={wanted!r}) asks for {count} components of {width} columns; up to "
                    f"{_MOST} are found where there are so many. Give n_components as a smaller number."
                )
            values, components = singular_directions(
                view, moments, max(count, 1), self._krylov(count, min(int(n), width)), centred=True
            )
            variances = values[:count] / (n - 1)
            if not share or count < kept or variances.sum() > wanted * total:
                break
            kept *= _MORE
        spectrum = Spectrum(n, moments.mean, variances, components[:count], total)
        return spectrum, self._count(variances, total, int(n), width) if share else count

    def _krylov(self, count: int, most: int) -> Krylov:
        """How components are found, in scikit-learn's words."""
        passes = None
        if self.svd_solver == "randomized":
            few = 7 if count < 0.1 * most else 4
            passes = 1 + (few if self.iterated_power == "auto" else int(self.iterated_power))
        return Krylov(passes, self.tol, self.n_oversamples, seed(self.random_state))

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


def _dense(X: Any) -> np.ndarray:
    return X.toarray() if is_sparse(X) else X
