"""Counts of terms weighed by how few documents have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.errors import DataError
from outgrow.ml.core.parameters import FLAG, OneOf
from outgrow.ml.feature_extraction.vectorizer import NORMS, normalized

SPARK = "spark"
WEIGHING = {
    "norm": NORMS,
    "use_idf": FLAG,
    "smooth_idf": FLAG,
    "sublinear_tf": FLAG,
    "formula": OneOf("sklearn", SPARK),
}


def inverse_frequencies(step: Any, frequencies: np.ndarray, documents: int) -> np.ndarray:
    """The weight of each term.

    Parameters
    ----------
    step : its parameters are those of `WEIGHING`.
    frequencies : how many documents have each term.
    documents : how many there are.
    """
    if step.formula == SPARK:
        return np.log((documents + 1.0) / (frequencies + 1.0))
    smooth = float(step.smooth_idf)
    with np.errstate(divide="ignore"):
        return np.log((documents + smooth) / (frequencies + smooth)) + 1.0


def weighed(step: Any, counts: Any, idf: np.ndarray | None) -> Any:
    """Counts, weighed.

    Parameters
    ----------
    step : its parameters are those of `WEIGHING`.
    counts : CSR array of float64, which stays as it is.
    idf : the weight of each term; None for no weights.

    Raises
    ------
    DataError
        When the logarithm of a negative count is needed.
    """
    data = _sublinear(type(step).__name__, counts.data) if step.sublinear_tf else counts.data
    if idf is not None:
        data = data * idf[counts.indices]
    return normalized(sp.csr_array((data, counts.indices, counts.indptr), shape=counts.shape), step.norm)


def _sublinear(who: str, counts: np.ndarray) -> np.ndarray:
    if len(counts) and counts.min() < 0:
        raise DataError(
            f"{who}(sublinear_tf=True) takes logarithms of counts, and one is {counts.min():g}. Count "
            "without signs, as alternate_sign=False does."
        )
    logs: np.ndarray = np.log(counts, out=np.full(len(counts), -1.0), where=counts > 0)
    return logs + 1.0
