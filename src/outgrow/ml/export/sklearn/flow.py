"""The columns on their way through a pipeline of scikit-learn, and the fitted steps so far.

A step that works on some columns is a `ColumnTransformer` whose parts are fitted already. As long as there is
text, steps hand on DataFrames; after that, arrays, in which columns are known by their places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import methodcaller
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from outgrow._optional import optional
from outgrow.data.kind import CATEGORY
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.exports import refusal
from outgrow.ml.export.sklearn.twin import twin

PASS = "passthrough"


@dataclass
class Part:
    """One column of outgrow, or several numbers side by side: where scikit-learn has them, and their kind."""

    labels: list[Any]
    text: bool = False


@dataclass
class Block:
    """Columns that one transformer changes.

    Attributes
    ----------
    transformer : fitted, or 'passthrough'.
    labels : what it takes.
    makes : what it gives: names of outgrow, and how many columns each; a name may go on in the next block.
    text : whether it gives text.
    row : values that it can take, for a try.
    """

    name: str
    transformer: Any
    labels: list[Any]
    makes: list[tuple[str, int]]
    text: bool = False
    row: list[Any] | None = None


@dataclass
class Flow:
    """Fitted steps, and where the columns are after them.

    Attributes
    ----------
    columns : by their names in outgrow, in its order.
    frame : whether the last step hands on a DataFrame.
    width : how many columns it hands on.
    """

    columns: dict[str, Part]
    frame: bool
    width: int
    steps: list[tuple[str, Any]] = field(default_factory=list)

    def labels(self, names: Sequence[str]) -> list[Any]:
        return [label for name in names for label in self.columns[name].labels]

    def tiny(self, labels: Sequence[Any], rows: Any) -> Any:
        """Some rows in the form the steps hand on.

        Parameters
        ----------
        labels : the columns, as a `ColumnTransformer` selects them; they name those of a DataFrame.
        rows : their values, of shape (rows, columns): of text and numbers, or for an array of numbers alone.
        """
        if not self.frame:
            return np.array(rows, dtype=np.float64)
        return optional("pandas", "spark").DataFrame(list(rows), columns=list(labels))

    def block(self, names: Sequence[str], name: str = PASS, transformer: Any = PASS) -> Block:
        """A block that gives the columns it takes.

        Parameters
        ----------
        names : the columns, by their names in outgrow.
        name : what the block is called.
        transformer : what changes them, each into as many columns as it was; 'passthrough' hands them on.
        """
        makes = [(each, len(self.columns[each].labels)) for each in names]
        return Block(name, transformer, self.labels(names), makes, any(self.columns[n].text for n in names))

    def beside(self, gone: Sequence[str], blocks: Sequence[Block]) -> list[Block]:
        """The blocks where the first of `gone` stood, and all other columns handed on.

        Parameters
        ----------
        gone : the columns, by their names in outgrow, that the blocks take; others keep their order.
        blocks : what becomes of them.
        """
        listed: list[Block] = []
        rest: list[str] = []
        for name in self.columns:
            if name not in gone:
                rest.append(name)
            elif name == gone[0]:
                listed += [self.block(rest)] * bool(rest) + list(blocks)
                rest = []
        return listed + [self.block(rest)] * bool(rest)

    def then(self, name: str, blocks: list[Block], order: Sequence[str] | None = None) -> Flow:
        """The flow after one more step, made of blocks.

        Parameters
        ----------
        name : what the step is called.
        blocks : in the order in which scikit-learn has their columns afterwards; others are gone.
        order : the names of the columns in outgrow's order; None where that is the order of the blocks.
        """
        frame = any(block.text for block in blocks)
        alone = len(blocks) == 1 and not isinstance(blocks[0].transformer, str | FunctionTransformer)
        if alone and not frame and blocks[0].labels == self._all_labels():
            step = blocks[0].transformer
        else:
            step = self._side_by_side(blocks, frame)
        width = sum(count for block in blocks for _, count in block.makes)
        labels = list(step.get_feature_names_out()) if frame else list(range(width))
        columns, at = dict[str, Part](), 0
        for block in blocks:
            for made, count in block.makes:
                part = columns.setdefault(made, Part([]))
                part.labels += labels[at : at + count]
                part.text = block.text and (block.transformer != PASS or self.columns[made].text)
                at += count
        return Flow({n: columns[n] for n in order or columns}, frame, width, [*self.steps, (name, step)])

    def in_order(self, names: Sequence[str], blocks: Mapping[str, Block] | None = None) -> Flow:
        """The flow with some columns in an order; the same flow where that is so already.

        Parameters
        ----------
        names : the columns, by their names in outgrow; others are gone.
        blocks : what changes some of them on the way, by the name of its column.
        """
        changed = blocks or {}
        if not changed and not self.frame and self.labels(names) == list(range(self.width)):
            return self
        listed: list[Block] = []
        for name in names:
            if name in changed:
                listed.append(changed[name])
            elif listed and listed[-1].name == PASS:
                listed[-1] = self.block([*(made for made, _ in listed[-1].makes), name])
            else:
                listed.append(self.block([name]))
        return self.then("features", listed)

    def ending(self, name: str, model: Any) -> Flow:
        """The flow that ends in a fitted model, which gets all columns.

        Parameters
        ----------
        name : what the step is called.
        model : a fitted model of scikit-learn, or of a library with its conventions.
        """
        note_width(model, self.width)
        return Flow({}, False, 0, [*self.steps, (name, model)])

    def _all_labels(self) -> list[Any]:
        return self.labels(list(self.columns)) if self.frame else list(range(self.width))

    def _side_by_side(self, blocks: list[Block], frame: bool) -> Any:
        taken: dict[str, int] = {}
        parts = []
        for block in blocks:
            number = taken[block.name] = taken.get(block.name, 0) + 1
            frozen = PASS if block.transformer == PASS else FrozenEstimator(block.transformer)
            parts.append((block.name if number == 1 else f"{block.name}{number}", frozen, block.labels))
        transformer = twin(
            "compose.ColumnTransformer", parts, sparse_threshold=1.0, verbose_feature_names_out=False
        )
        if frame:
            transformer.set_output(transform="pandas")
        row = {label: "" if part.text else 0.0 for part in self.columns.values() for label in part.labels}
        for block in blocks:
            row |= dict(zip(block.labels, block.row or [], strict=block.row is not None))
        labels = self._all_labels()
        return transformer.fit(self.tiny(labels, [[row.get(label, 0.0) for label in labels]]))


def opened(estimator: Estimator, *, steps: bool) -> Flow:
    """The columns that an estimator was fitted on, and the step that makes numbers and text of them.

    Missing text becomes NaN, whether it came as None, NaN or NA.

    Parameters
    ----------
    estimator : a fitted estimator or pipeline. With names of columns the flow begins with a DataFrame.
    steps : whether to make that step, where columns have names or some are text; without it columns stay as
        they come.

    Raises
    ------
    ExportError
        When a column is neither text nor numbers, or its name is empty.
    """
    kinds = estimator.columns_
    odd = {name: kind for name, kind in kinds.items() if kind.width or kind.form.onnx is None}
    if odd:
        raise refusal("A model", f"columns {odd} are neither text nor numbers.", "Leave them out, and fit.")
    if "" in kinds:
        raise refusal("A model", "a column has the empty text as its name.", "Rename it, and fit.")
    names, text = list(kinds), [name for name, kind in kinds.items() if kind == CATEGORY]
    framed = hasattr(estimator, "feature_names_in_")
    places: Mapping[str, Any] = dict(zip(names, names if framed else range(len(names)), strict=True))
    flow = Flow({n: Part([places[n]], n in text) for n in names}, framed, len(names))
    if not steps or not (framed or text):
        return flow
    if not framed:
        flow = _framed(flow, names)
    return flow.then("columns", _plain(flow, names, text))


def note_width(model: Any, width: int) -> None:
    """Note how many features a model was made for; XGBoost's know it by themselves.

    Parameters
    ----------
    model : a fitted model of scikit-learn or XGBoost, which gets `n_features_in_` where it has none.
    width : how many features.
    """
    if not hasattr(model, "n_features_in_"):
        model.n_features_in_ = width


def _framed(flow: Flow, names: list[str]) -> Flow:
    step = FunctionTransformer(partial(optional("pandas", "spark").DataFrame, columns=names))
    columns = {name: Part([name], part.text) for name, part in flow.columns.items()}
    return Flow(columns, True, flow.width, [("frame", step)])


def _plain(flow: Flow, names: list[str], text: list[str]) -> list[Block]:
    """Blocks that make float64 of neighbouring numbers, and plain text of neighbouring text."""
    blocks: list[Block] = []
    for is_text, group in groupby(names, lambda name: name in text):
        together = list(group)
        change = _words() if is_text else _named(methodcaller("astype", "float64"))
        block = flow.block(together, "text" if is_text else "numbers", change)
        change.fit(flow.tiny(block.labels, [["" if is_text else 0.0] * len(together)]))
        blocks.append(block)
    return blocks


def _words() -> Pipeline:
    """Text as Python's own; pandas' categories know one kind of missing value, and give it as NaN."""
    return make_pipeline(_named(methodcaller("astype", "category")), _named(methodcaller("astype", object)))


def _named(function: Any) -> FunctionTransformer:
    return FunctionTransformer(function, feature_names_out="one-to-one")
