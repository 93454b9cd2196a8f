"""The columns on their way through a graph: what a `Batch` is to rows, told in names of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from outgrow.data.kind import Kind
from outgrow.ml.core.exports import refusal
from outgrow.ml.export.onnx.graph import Graph

MISSING, WORD, NEVER = "missing", "word", "never"
"""What empty text stands for in a column: a missing value, a word like others, or it does not occur."""


@dataclass(frozen=True)
class Column:
    """One column, or several numbers side by side.

    Attributes
    ----------
    tensor : its name in the graph, of shape (rows, width).
    empty : of a column of text, what empty text in it stands for.
    """

    tensor: str
    kind: Literal["number", "text"] = "number"
    width: int = 1
    empty: str = MISSING

    def filled(self, graph: Graph, word: str) -> Column:
        """The text of the column, with a word in place of missing ones.

        Parameters
        ----------
        graph : gets the nodes.
        word : what stands for missing text; it may be empty text, which is then a word like others.
        """
        if self.empty != MISSING:
            return self
        empty = graph.node("Equal", self.tensor, graph.constant([[""]], object))
        text = graph.node("Where", empty, graph.constant([[word]], object), self.tensor)
        return replace(self, tensor=text, empty=NEVER if word else WORD)


@dataclass(frozen=True)
class Table:
    """Columns by name, in the order in which outgrow has them."""

    graph: Graph
    columns: Mapping[str, Column]

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def matrix(self, names: Iterable[str], who: str) -> str:
        """The named columns as one tensor of numbers, of shape (rows, width).

        Parameters
        ----------
        names : the columns, in the order in which they are put side by side.
        who : what takes them, for the message.

        Raises
        ------
        ExportError
            When one of them is text, as a column is that had no value at fit.
        """
        chosen = list(names)
        text = [name for name in chosen if self[name].kind == "text"]
        if text:
            raise refusal(who, f"columns {text} had no value at fit.", "Leave them out, and fit.")
        return self.graph.join([self[name].tensor for name in chosen])

    def with_numbers(self, tensor: str, names: Sequence[str]) -> Table:
        """The table with new numbers in the place of some columns.

        Parameters
        ----------
        tensor : of shape (rows, width): the numbers of the columns, side by side.
        names : the columns, in that order; each keeps its place and its width.
        """
        widths = [self[name].width for name in names]
        parts = self.graph.split(tensor, widths)
        new = {n: Column(part, width=w) for n, part, w in zip(names, parts, widths, strict=True)}
        return self.with_columns(new)

    def with_columns(self, new: Mapping[str, Column]) -> Table:
        return Table(self.graph, {**self.columns, **new})

    def drop(self, names: Iterable[str]) -> Table:
        gone = set(names)
        return Table(self.graph, {name: c for name, c in self.columns.items() if name not in gone})

    def replace(self, old: Sequence[str], new: Mapping[str, Column]) -> Table:
        """The table with new columns in the place of some.

        Parameters
        ----------
        old : the columns that go.
        new : what stands where the first of `old` stood, in this order.
        """
        gone, columns = set(old), dict[str, Column]()
        for name, column in self.columns.items():
            if name not in gone:
                columns[name] = column
            elif name == old[0]:
                columns.update(new)
        return Table(self.graph, columns)

    def apart(self, parts: Mapping[str, Sequence[tuple[str, int]]]) -> Table:
        """The table with several columns in the place of each of some vectors.

        Parameters
        ----------
        parts : of each vector, what they are called and how many numbers each has, in order.
        """
        table = self
        for vector, own in parts.items():
            tensors = self.graph.split(self[vector].tensor, [width for _, width in own])
            new = {name: Column(part, width=width) for (name, width), part in zip(own, tensors, strict=True)}
            table = table.replace([vector], new)
        return table


def opened(graph: Graph, kinds: Mapping[str, Kind]) -> Table:
    """The columns a model was fitted on, each an input of the graph.

    Parameters
    ----------
    graph : gets the inputs.
    kinds : the columns in the order of the fit, name to kind.

    Raises
    ------
    ExportError
        When a column is neither text nor numbers, or has a name that no input can have.
    """
    return Table(graph, {name: _input(graph, name, kind) for name, kind in kinds.items()})


def _input(graph: Graph, name: str, kind: Kind) -> Column:
    if not name or "\0" in name:
        raise refusal("A model", f"no input can be called {name!r}.", "Rename the column, and fit.")
    width = kind.width or 1
    if kind.form.onnx is not None:
        return Column(graph.input(name, kind.form.onnx, width), kind.form.onnx, width)
    raise refusal(
        "A model",
        f"column {name!r} is of kind {kind}, which is neither text nor a number.",
        "Leave it out, and fit.",
    )
