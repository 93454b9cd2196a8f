"""Categories as encoders of scikit-learn have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.exports import refusal


def seen(categories: np.ndarray, few: np.ndarray | None) -> np.ndarray:
    """Rows in which frequent categories are twice, and those that are put together once."""
    rare = set() if few is None else {_key(word) for word in few.tolist()}
    often = [word for word in categories.tolist() if _key(word) not in rare]
    return np.array([*categories.tolist(), *often], dtype=categories.dtype)


def known(step: Any, column: str, categories: np.ndarray, *, text: bool) -> np.ndarray:
    """Categories as scikit-learn takes them: a missing value is NaN, numbers are float64."""
    if not len(categories):
        raise refusal(step, f"column {column!r} had no value at fit.", "Leave it out, and fit.")
    if not text:
        odd = [word for word in categories.tolist() if _key(word) is not None and float(word) != word]
        if odd:
            raise refusal(
                step,
                f"category {odd[0]!r} of column {column!r} does not fit a float64.",
                "Cast the column to text, and fit.",
            )
        return np.array([np.nan if word is None else word for word in categories.tolist()], dtype=np.float64)
    words = np.empty(len(categories), dtype=object)
    words[:] = [np.nan if _key(word) is None else word for word in categories.tolist()]
    return words


def _key(word: Any) -> Any:
    return None if word != word else word
