"""The four forms that covariances of components may have."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import scipy.linalg

from outgrow.errors import DataError, ParameterError

FULL, TIED, DIAG, SPHERICAL = "full", "tied", "diag", "spherical"
FORMS = (FULL, TIED, DIAG, SPHERICAL)


def squares(form: str, apart: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Weighted products of the columns of one component: of shape (p, p), or (p,) where only squares count.

    Parameters
    ----------
    form : one of `FORMS`.
    apart : ndarray of shape (p, rows), the columns about the component's mean.
    shares : ndarray of shape (rows,), the weight of the rows in the component.
    """
    if form in (DIAG, SPHERICAL):
        return (apart * apart) @ shares
    scaled = apart * np.sqrt(shares)
    return scaled @ scaled.T


def covariances(
    form: str, sums: np.ndarray, weights: np.ndarray, steps: np.ndarray, ridge: float
) -> np.ndarray:
    """The covariances of all components about their new means, as scikit-learn has them in this form.

    Parameters
    ----------
    form : one of `FORMS`.
    sums : what `squares` gave, summed over all rows, of shape (components, p, p) or (components, p).
    weights : ndarray of shape (components,), the summed shares.
    steps : ndarray of shape (components, p), from the means that `squares` was about to the new ones.
    ridge : is added to each variance.
    """
    if form in (DIAG, SPHERICAL):
        variances = sums / weights[:, None] - steps**2 + ridge
        return variances if form == DIAG else variances.mean(axis=1)
    each = sums - weights[:, None, None] * steps[:, :, None] * steps[:, None, :]
    each = each.sum(axis=0) / weights.sum() if form == TIED else each / weights[:, None, None]
    diagonal = np.arange(each.shape[-1])
    each[..., diagonal, diagonal] += ridge
    return each


def shape(form: str, components: int, width: int) -> tuple[int, ...]:
    """The shape of covariances, of precisions and of their factors.

    Parameters
    ----------
    form : one of `FORMS`.
    components, width : how many components and columns there are.
    """
    shapes = {FULL: (components, width, width), TIED: (width, width), DIAG: (components, width)}
    return shapes.get(form, (components,))


def precision_factors(form: str, made: np.ndarray) -> np.ndarray:
    """The Cholesky factors of the inverses of covariances, in the same form.

    Parameters
    ----------
    form : one of `FORMS`.
    made : covariances in this form.

    Raises
    ------
    DataError
        When one of them is not positive definite.
    """
    if form in (DIAG, SPHERICAL):
        if not (made > 0).all():
            raise _ill_defined()
        return 1.0 / np.sqrt(made)
    try:
        lower = np.linalg.cholesky(made)
    except np.linalg.LinAlgError:
        raise _ill_defined() from None
    identity = np.eye(made.shape[-1])
    if form == TIED:
        return scipy.linalg.solve_triangular(lower, identity, lower=True).T
    return np.stack([scipy.linalg.solve_triangular(each, identity, lower=True).T for each in lower])


def precisions(form: str, factors: np.ndarray) -> np.ndarray:
    """The inverses of covariances, of their factors in this form.

    Parameters
    ----------
    form : one of `FORMS`.
    factors : what `precision_factors` gave.
    """
    return factors**2 if form in (DIAG, SPHERICAL) else factors @ np.swapaxes(factors, -1, -2)


def factors_of(form: str, given: np.ndarray) -> np.ndarray:
    """The factors of precisions that a user gave, in this form.

    Parameters
    ----------
    form : one of `FORMS`.
    given : precisions in this form.

    Raises
    ------
    ParameterError
        When they are not symmetric and positive definite, or not positive.
    """
    if form in (DIAG, SPHERICAL):
        if not (given > 0).all():
            raise ParameterError(f"'{form} precision' should be positive. Check precisions_init.")
        return np.sqrt(given)
    with suppress(np.linalg.LinAlgError):
        factors = np.linalg.cholesky(given)
        if np.allclose(given, np.swapaxes(given, -1, -2)):
            return factors
    raise ParameterError(f"'{form} precision' should be symmetric, positive-definite. Check precisions_init.")


def drawn(form: str, factors: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Rows about zero with the covariance of one component, from rows of standard normal numbers.

    Parameters
    ----------
    form : one of `FORMS`.
    factors : of this component, of shape (p, p), (p,) or ().
    normal : ndarray of shape (rows, p).
    """
    if form in (DIAG, SPHERICAL):
        return normal / factors
    rows: np.ndarray = scipy.linalg.solve_triangular(factors.T, normal.T, lower=True).T
    return rows


def whitening(form: str, factors: np.ndarray, components: int, width: int) -> np.ndarray:
    """For each component the matrix that makes its rows about the mean standard, (components, p, p).

    Parameters
    ----------
    form : one of `FORMS`.
    factors : what `precision_factors` gave.
    components, width : how many components and columns there are.
    """
    if form == FULL:
        return factors
    if form == TIED:
        return np.broadcast_to(factors, (components, width, width))
    return np.broadcast_to(np.reshape(factors, (components, -1, 1)), (components, width, width)) * np.eye(
        width
    )


def log_determinants(form: str, factors: np.ndarray, width: int) -> np.ndarray:
    """Half the logarithm of the determinant of each precision, of shape (components,) or ().

    Parameters
    ----------
    form : one of `FORMS`.
    factors : what `precision_factors` gave.
    width : how many columns there are.
    """
    if form == SPHERICAL:
        return width * np.log(factors)
    logs = np.log(factors if form == DIAG else np.diagonal(factors, axis1=-2, axis2=-1))
    total: np.ndarray = logs.sum(axis=-1)
    return total


def free_parameters(form: str, components: int, width: int) -> int:
    """How many numbers covariances of this form have that may vary.

    Parameters
    ----------
    form : one of `FORMS`.
    components, width : how many components and columns there are.
    """
    pairs = width * (width + 1) // 2
    return {FULL: components * pairs, TIED: pairs, DIAG: components * width, SPHERICAL: components}[form]


def _ill_defined() -> DataError:
    return DataError(
        "Fitting the mixture model failed because some components have ill-defined empirical covariance (for "
        "instance caused by singleton or collapsed samples). Try to decrease the number of components, "
        "increase reg_covar, or scale the input data."
    )
