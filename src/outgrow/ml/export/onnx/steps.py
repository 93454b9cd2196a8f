"""What each transformer does to its columns, as nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from outgrow.ml.base import Transformer
from outgrow.ml.decomposition.pca import PCA
from outgrow.ml.export.onnx.table import MISSING, NEVER, WORD, Column, Table
from outgrow.ml.export.refusal import refusal, unknown
from outgrow.ml.impute.simple_imputer import SimpleImputer
from outgrow.ml.preprocessing.categories import Coder
from outgrow.ml.preprocessing.one_hot_encoder import OneHotEncoder
from outgrow.ml.preprocessing.ordinal_encoder import OrdinalEncoder
from outgrow.ml.preprocessing.standard_scaler import StandardScaler


def changed(step: Transformer, table: Table) -> Table:
    """The table after a transformer.

    Raises
    ------
    ExportError
        When it has no equal in ONNX.
    """
    change = _CHANGES.get(type(step))
    if change is None:
        raise unknown(step, "ONNX")
    return change(step, table) if step.selected_ else table


def place(table: Table, name: str, words: Sequence[Any], step: Any) -> str:
    """The place of each row's value among the categories (None for a missing value), or their number."""
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


def _impute(step: SimpleImputer, table: Table) -> Table:
    if step.marks:
        raise refusal(
            step,
            f"it has missing_values={step.missing_values!r}, add_indicator={step.add_indicator}.",
            "Leave those out, or keep it with save().",
        )
    graph, filled = table.graph, table
    if step._names:
        X = graph.finite(table.matrix(step._names, "SimpleImputer"), "SimpleImputer", missing=True)
        filled = filled.with_numbers(_filled(table, X, step._values), step._names)
    for name, word in step._words.items():
        filled = filled.with_columns({name: _filled_text(table, table[name], word)})
    for name, values in step._vectors.items():
        X = _filled(table, table[name].tensor, np.nan_to_num(values))
        kept = np.flatnonzero(~np.isnan(values))
        X = X if len(kept) == len(values) else graph.node("Gather", X, graph.constant(kept), axis=1)
        filled = filled.with_columns({name: Column(X, width=len(kept))})
    return filled.drop(step._gone)


def _filled(table: Table, X: str, values: np.ndarray) -> str:
    return table.graph.node("Where", table.graph.node("IsNaN", X), table.graph.constant(values[None, :]), X)


def _filled_text(table: Table, column: Column, word: str) -> Column:
    if column.empty != MISSING:
        return column
    graph = table.graph
    empty = graph.node("Equal", column.tensor, graph.constant([[""]], object))
    text = graph.node("Where", empty, graph.constant([[word]], object), column.tensor)
    return column.saying(text, NEVER if word else WORD)


def _scale(step: StandardScaler, table: Table) -> Table:
    graph = table.graph
    X = table.matrix(step.selected_, "StandardScaler")
    if step.with_mean:
        X = graph.node("Sub", X, graph.constant(step.mean_[None, :]))
    if step.with_std:
        X = graph.node("Mul", X, graph.constant(1.0 / step.scale_[None, :]))
    return table.with_numbers(X, step.selected_)


def _project(step: PCA, table: Table) -> Table:
    graph = table.graph
    X = graph.finite(table.matrix(step.selected_, "PCA"), "PCA", missing=False)
    components = step.components_.astype(np.float64)
    Z = graph.node("MatMul", X, graph.constant(components.T))
    Z = graph.node("Sub", Z, graph.constant((step.mean_ @ components.T)[None, :]))
    if step.whiten:
        floor = np.finfo(np.float64).eps
        Z = graph.node(
            "Div", Z, graph.constant(np.sqrt(np.maximum(step.explained_variance_, floor))[None, :])
        )
    names = step._output_names
    parts = graph.split(Z, [1] * len(names))
    return table.replace(step.selected_, {n: Column(part) for n, part in zip(names, parts, strict=True)})


def _number(step: OrdinalEncoder, table: Table) -> Table:
    strict = step.handle_unknown == "error"
    new = {coder.name: Column(_codes(step, table, coder, strict)) for coder in step._coders}
    return table.with_columns(new)


def _one_hot(step: OneHotEncoder, table: Table) -> Table:
    graph, strict, start = table.graph, step.handle_unknown == "error", 0
    parts: list[str] = []
    spent: list[str] = []  # columns of one category, left out: only asked whether they know their values
    for j, coder in enumerate(step._coders):
        width = len(step._columns_of(j)[1])
        columns = np.arange(start, start + max(1, width), dtype=np.int64)
        hot = graph.node("Equal", _codes(step, table, coder, strict), graph.constant(columns[None, :]))
        (parts if width else spent).append(graph.cast(hot, "number"))
        start += width
    if not parts:
        raise refusal(step, "it gives no columns.", "Leave it out, or pass drop=None.")
    for zeros in spent if strict else []:
        parts[0] = graph.node("Add", parts[0], zeros)
    return table.replace(step.selected_, _hot_columns(step, graph.join(parts), table))


def _hot_columns(step: OneHotEncoder, X: str, table: Table) -> dict[str, Column]:
    names = step._labels
    if step.sparse_output:
        return {step.output_name_: Column(X, width=len(names))}
    parts = table.graph.split(X, [1] * len(names))
    return {name: Column(part) for name, part in zip(names, parts, strict=True)}


def _codes(step: Any, table: Table, coder: Coder, strict: bool) -> str:
    """What each row of a column becomes; an unknown value fails the run where it is an error."""
    graph = table.graph
    found = place(table, coder.name, list(coder.places), step)
    values = coder.values[:-1] if strict else coder.values
    return graph.node(
        "Gather", graph.constant(values), found, name=f"unknown category in column {coder.name!r}"
    )


_CHANGES: dict[type, Callable[[Any, Table], Table]] = {
    SimpleImputer: _impute,
    StandardScaler: _scale,
    OneHotEncoder: _one_hot,
    OrdinalEncoder: _number,
    PCA: _project,
}
