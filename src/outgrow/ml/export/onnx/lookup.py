"""Values of columns as indices of their categories, as nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.ml.core.exports import refusal
from outgrow.ml.export.onnx.table import MISSING, WORD, Column, Table


def category_index(table: Table, name: str, words: Sequence[Any], step: Any) -> str:
    """The place of each row's value among the categories, or their number where it is none of them.

    Parameters
    ----------
    table : the columns as they reach the step.
    name : the column, of text or of single numbers.
    words : the categories in order, with None for a missing value where that is one.
    step : the encoder or model, for the message.

    Returns
    -------
    str
        A tensor of whole numbers, of shape (rows, 1).

    Raises
    ------
    ExportError
        When the column holds vectors, or ONNX cannot tell one of the categories from others.
    """
    column, rest = table[name], len(words)
    if column.kind == "number" and column.width > 1:
        raise refusal(step, f"column {name!r} holds vectors.", "Name the columns to encode.")
    keys = _text_keys(column, name, words, step) if column.kind == "text" else _number_keys(name, words, step)
    if not keys:
        return table.graph.node(
            "Expand", table.graph.constant([[rest]]), table.graph.node("Shape", column.tensor)
        )
    return table.graph.lookup(column.tensor, list(keys), list(keys.values()), rest)


def _text_keys(column: Column, name: str, words: Sequence[Any], step: Any) -> dict[str, int]:
    """What each text in a graph stands for: the number of its category."""
    odd = [word for word in words if word is not None and not isinstance(word, str)]
    if odd:
        raise refusal(
            step, f"column {name!r} holds {odd[0]!r}, no text.", "Cast the column to text, and fit."
        )
    keys = {word: number for number, word in enumerate(words) if word is not None}
    if "" in keys and column.empty != WORD:
        raise refusal(
            step,
            f"column {name!r} has empty text as a category, which in ONNX stands for a missing value.",
            "Replace it by null or by a word, and fit.",
        )
    if None in words and column.empty == MISSING:
        keys[""] = list(words).index(None)
    return keys


def _number_keys(name: str, words: Sequence[Any], step: Any) -> dict[float, int]:
    """What each number in a graph stands for; NaN is a missing one."""
    odd = [word for word in words if word is not None and float(word) != word]
    if odd:
        raise refusal(
            step,
            f"category {odd[0]!r} of column {name!r} does not fit a float64.",
            "Cast the column to text, and fit.",
        )
    return {np.nan if word is None else float(word): number for number, word in enumerate(words)}
