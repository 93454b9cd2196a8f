"""Linear discriminant analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.joint import dense, log_shares
from outgrow.ml.core.parameters import Integer, OneOf
from outgrow.ml.decomposition.projection import signed
from outgrow.ml.discriminant_analysis.base import DiscriminantAnalysis, Scatter
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.classifier import LinearClassifier, probabilities

STEM = "lineardiscriminantanalysis"


class LinearDiscriminantAnalysis(TransformerMixin, LinearClassifier, DiscriminantAnalysis):
    """Tell classes apart as normal distributions with one covariance; one pass over the rows.

    Parameters
    ----------
    solver : 'svd', which leaves out directions in which columns hardly vary within the classes; 'lsqr', least
        squares; or 'eigen', which needs a covariance that can be inverted. The last two take `shrinkage`.
    shrinkage : how far the covariance of each class is drawn towards a multiple of the identity, between 0
        and 1; 'auto' as far as is best (Ledoit and Wolf 2004), in a second pass; None for not at all.
    priors : the probability of each class, in the order of `classes_`; None for their shares of the rows.
    n_components : how many columns `transform` gives; None for one less than there are classes, or as many as
        there are columns.
    store_covariance : keep `covariance_` also with solver='svd'.
    tol : of 'svd', the share of a standard deviation below which a direction does not vary.
    covariance_estimator : None alone.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    class_count_ : ndarray of shape (n_classes,), the weight of the rows of each.
    priors_ : ndarray of shape (n_classes,).
    means_ : ndarray of shape (n_classes, n_features).
    coef_ : ndarray of shape (1, n_features), or (n_classes, n_features) for more than two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,).
    covariance_ : ndarray of shape (n_features, n_features), that within the classes.
    xbar_ : ndarray of shape (n_features,), the mean; of 'svd'.
    scalings_ : ndarray of shape (n_features, rank), what `transform` multiplies by; of 'svd' and 'eigen'.
    explained_variance_ratio_ : ndarray of shape (n_components,); of 'svd' and 'eigen'.

    Raises
    ------
    DataError
        At `fit`, when no column varies within the classes, or with solver='eigen' their covariance cannot be
        inverted.

    Notes
    -----
    Unlike scikit-learn: takes weights; the directions of `scalings_` have the same sign everywhere; rows are
    not kept, only the products of their columns, so 'svd' tells directions below about 1e-7 of a standard
    deviation from nothing no more; one class alone is refused, as are estimators of covariances.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-2.0, 1.0], [-1.0, -1.0], [-1.5, 0.5], [1.0, 1.0], [2.0, 0.0], [1.5, -1.0]])
    >>> model = og.LinearDiscriminantAnalysis().fit(X, np.array(["a", "a", "a", "b", "b", "b"]))
    >>> model.predict(np.array([[-0.5, 0.0], [0.5, 2.0]])).tolist(), model.transform(X).shape
    (['a', 'b'], (6, 1))
    """

    shared_fit_parameters = ("solver", "shrinkage", "priors", "n_components", "store_covariance", "tol")
    parameters = {
        **DiscriminantAnalysis.parameters,
        "solver": OneOf("svd", "lsqr", "eigen"),
        "n_components": Integer(low=1) | None,
    }
    covariance_: np.ndarray
    xbar_: np.ndarray
    scalings_: np.ndarray
    explained_variance_ratio_: np.ndarray

    def __init__(
        self,
        solver: str = "svd",
        shrinkage: Any = None,
        priors: Any = None,
        n_components: int | None = None,
        store_covariance: bool = False,
        tol: float = 1e-4,
        covariance_estimator: Any = None,
    ) -> None:
        self.solver = solver
        self.shrinkage = shrinkage
        self.priors = priors
        self.n_components = n_components
        self.store_covariance = store_covariance
        self.tol = tol
        self.covariance_estimator = covariance_estimator

    # ---- learn -------------------------------------------------------------------------------------------

    def _solve(self, classes: Sequence[Scatter], whole: Scatter) -> None:
        if self.n_components is not None and self.n_components > self._most_components:
            raise ParameterError(
                f"LinearDiscriminantAnalysis(n_components={self.n_components}): n_components cannot be "
                f"larger than min(n_features, n_classes - 1), which is {self._most_components} here."
            )
        if not any(one.products.any() for one in classes):
            raise DataError(
                "No column varies within the classes. The number of samples must be more than the number of "
                "classes, and some must differ."
            )
        if self.solver != "svd" or self.store_covariance:
            shrunk = np.array([one.shrunk(self.shrinkage) for one in classes])
            self.covariance_ = np.einsum("k,kpq->pq", self.priors_, shrunk)
        constants = getattr(self, f"_solve_{self.solver}")(classes, whole)
        self.intercept_ = constants + np.log(self.priors_)
        if len(self.classes_) == 2:
            self.coef_ = self.coef_[1:] - self.coef_[:1]
            self.intercept_ = self.intercept_[1:] - self.intercept_[:1]

    def _solve_svd(self, classes: Sequence[Scatter], whole: Scatter) -> np.ndarray:
        """The coefficients; what is added to the logarithms of the priors."""
        within = Scatter(whole.n, sum((one.products for one in classes), np.zeros(whole.products.shape)))
        values, vectors = np.linalg.eigh(within.covariance / np.outer(within.scale, within.scale))
        sizes = np.sqrt(np.maximum(values, 0.0))[::-1]
        sizes = sizes[sizes > self.tol]
        white = vectors[:, ::-1][:, : len(sizes)] / within.scale[:, None] / sizes
        self.xbar_ = self.priors_ @ self.means_
        apart = self.means_ - self.xbar_
        weights = np.sqrt(whole.n * self.priors_ / (len(self.classes_) - 1))
        _, spread, turned = np.linalg.svd((weights[:, None] * apart) @ white, full_matrices=False)
        self.explained_variance_ratio_ = _shares(spread**2)[: self._components]
        kept = int((spread > self.tol * spread[:1]).sum())
        self.scalings_ = signed((white @ turned.T[:, :kept]).T).T
        projected = apart @ self.scalings_
        self.coef_ = projected @ self.scalings_.T
        return np.asarray(-0.5 * (projected**2).sum(axis=1) - self.coef_ @ self.xbar_)

    def _solve_lsqr(self, classes: Sequence[Scatter], whole: Scatter) -> np.ndarray:
        """As `_solve_svd`."""
        self.coef_ = scipy.linalg.lstsq(self.covariance_, self.means_.T)[0].T
        return np.asarray(-0.5 * np.einsum("kp,kp->k", self.means_, self.coef_))

    def _solve_eigen(self, classes: Sequence[Scatter], whole: Scatter) -> np.ndarray:
        """As `_solve_svd`."""
        between = whole.shrunk(self.shrinkage) - self.covariance_
        try:
            values, vectors = scipy.linalg.eigh(between, self.covariance_)
        except np.linalg.LinAlgError:
            raise DataError(
                "LinearDiscriminantAnalysis(solver='eigen'): the covariance within the classes cannot be "
                "inverted, as when columns depend on others. Choose solver='svd', or set shrinkage."
            ) from None
        self.explained_variance_ratio_ = np.sort(values / values.sum())[::-1][: self._components]
        self.scalings_ = signed(vectors[:, ::-1].T).T
        self.coef_ = self.means_ @ self.scalings_ @ self.scalings_.T
        return np.asarray(-0.5 * np.einsum("kp,kp->k", self.means_, self.coef_))

    @property
    def _most_components(self) -> int:
        return min(len(self.classes_) - 1, self.means_.shape[1])

    @property
    def _components(self) -> int:
        return self.n_components or self._most_components

    # ---- answer ------------------------------------------------------------------------------------------

    def _predict_proba(self, X: Any) -> np.ndarray:
        return probabilities(self._decision_function(X))

    def _predict_log_proba(self, X: Any) -> np.ndarray:
        margins = self._decision_function(X)
        return log_shares(
            margins if margins.ndim == 2 else np.stack([np.zeros(len(margins)), margins], axis=1)
        )

    def transform(self, X: Any) -> Any:
        """The rows along the directions that tell the classes apart best, of shape (rows, n_components); for
        lazy tables columns `lineardiscriminantanalysis0` and so on."""
        check_is_fitted(self)
        if self.solver == "lsqr":
            raise ParameterError(
                "transform not implemented for 'lsqr' solver (use 'svd' or 'eigen'): it finds no directions."
            )
        return self._respond(X, "transform")

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives.

        Parameters
        ----------
        input_features : without effect.
        """
        check_is_fitted(self)
        return np.array(self._prediction_names("transform"), dtype=object)

    def _transform(self, X: Any) -> np.ndarray:
        rows = dense(X)
        if self.solver == "svd":
            rows = rows - self.xbar_
        return np.asarray(rows @ self.scalings_[:, : self._components])

    def _prediction_names(self, method: str) -> list[str]:
        if method == "transform":
            return [f"{STEM}{k}" for k in range(min(self._components, self.scalings_.shape[1]))]
        return super()._prediction_names(method)

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        return self._probabilities_in_onnx(table)

    def _sklearn_model(self) -> Any:
        """Fitted on other rows of as many classes and columns, then given what was learned."""
        names = ("solver", "shrinkage", "priors", "n_components", "store_covariance", "tol")
        made = twin("discriminant_analysis.LinearDiscriminantAnalysis", n_components=self.n_components)
        rows = np.random.default_rng(0).normal(size=(2 * len(self.classes_), self.means_.shape[1]))
        made.fit(rows, np.repeat(self.classes_, 2))
        made.set_params(**{name: getattr(self, name) for name in names})
        maybe = ("covariance_", "xbar_", "scalings_", "explained_variance_ratio_")
        known = [name for name in maybe if hasattr(self, name)]
        return with_learned(made, self, "priors_", "means_", "coef_", "intercept_", *known)


def _shares(values: np.ndarray) -> np.ndarray:
    total = values.sum()
    return np.asarray(values / total if total > 0 else np.zeros_like(values))
