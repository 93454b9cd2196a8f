"""Categories as encoders of scikit-learn have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.exports import refusal


def seen(categories: np.ndarray, few: np.ndarray | None) -> np.ndarray:
    """Rows from which an encoder of scikit-learn learns, with `min_frequency=2`, which categories are rare.

    Parameters
    ----------
    categories : ndarray of shape (categories,), all that there are; each is once in the rows.
    few : ndarray of those that are put together; all others are twice. None where none are.

    Returns
    -------
    ndarray
        Of shape (rows,).
    """
    rare = set() if few is None else {_key(word) for word in few.tolist()}
    often = [word for word in categories.tolist() if _key(word) not in rare]
    return np.array([*categories.tolist(), *often], dtype=categories.dtype)


def known(step: Any, column: str, categories: np.ndarray, *, text: bool) -> np.ndarray:
    """Categories as scikit-learn takes them: a missing value is NaN, numbers are float64.

    Parameters
    ----------
    step : the encoder or model, for the message.
    column : its column, for the message.
    categories : ndarray of shape (categories,), in order; None or NaN is a missing value.
    text : whether the column is text where it reaches the step; otherwise it is numbers.

    Raises
    ------
    ExportError
        When there are no categories, or a number does not fit a float64.
    """
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
        numbers = np.array([np.nan if word is None else word for word in categories.tolist()], np.float64)
        if (np.diff(numbers) < 0).any():
            raise refusal(
                step,
                f"scikit-learn takes categories of numbers in their order only, unlike those of {column!r}.",
                "Cast the column to text, or pass categories='auto', and fit.",
            )
        return numbers
    words = np.empty(len(categories), dtype=object)
    words[:] = [np.nan if _key(word) is None else word for word in categories.tolist()]
    return words


def _key(word: Any) -> Any:
    return None if word != word else word
