"""Folds within a fit: rows of a matrix are dealt by their hashes, and models answer for rows held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.core.candidates import Candidate, learn_apart
from outgrow.stats.strata import Strata

FOLDS = 5
"""How many there are if nothing is said."""
_FEW = 1000
"""Up to so many different rows of a class are dealt out; among more, hashes are even enough."""
Answer = Callable[[Any, Any], np.ndarray]
"""What a model says of a matrix, of shape (rows, width)."""


def dealt(view: MatrixView, folds: int, seed: int, everywhere: np.ndarray | None = None) -> MatrixView:
    """The same rows, copied, dealt to folds by their hashes, class by class; one pass.

    Parameters
    ----------
    view : rows with y.
    folds : how many.
    seed : another one deals otherwise.
    everywhere : booleans of shape (classes,): the rows of some come to a place of their own behind the folds.

    Raises
    ------
    DataError
        When there are fewer rows than folds.
    """
    if view.rows < folds:
        raise DataError(
            f"cv={folds} needs as many rows for its folds; there is n_samples = {view.rows}. Give more rows, "
            "or fewer folds."
        )
    most, labels = max(_FEW, 20 * folds), view.labels.classes is not None

    def strata_of(block: Block) -> Strata:
        if block.weight is not None:
            block = block.take(block.weight > 0)  # those that weigh nothing are as if they were not there
        strata = np.asarray(block.y) if labels else np.zeros(len(block))
        return Strata.of(strata.astype(np.uint64), block.hashes(seed), most)

    strata: Strata = view.reduce(strata_of)

    def placing(block: Block) -> np.ndarray:
        parts = strata.part_of(block.hashes(seed), folds)
        return parts if everywhere is None else np.where(everywhere[np.asarray(block.y)], folds, parts)

    return view.placed(placing)


def learn_folds(view: MatrixView, models: Sequence[Any], *, whole: bool) -> FoldedView:
    """Let models learn from folds of rows that were dealt, in passes that they share.

    Parameters
    ----------
    view : the rows, each at a place.
    models : one for each fold, which learns from all rows but those of its place; with `whole` one more,
        which learns from all.
    whole : whether the last learns from all rows.

    Returns
    -------
    The rows with the folds.
    """
    folds = len(models) - whole
    train = ~np.eye(folds, dtype=bool)
    if whole:
        train = np.column_stack([train, np.ones(folds, dtype=bool)])
    rows = FoldedView.of(view, train)
    learn_all(rows, [Candidate(model, k) for k, model in enumerate(models)])
    return rows


def learn_all(rows: FoldedView, candidates: Sequence[Candidate]) -> None:
    """Let candidates of one class learn, in passes that they share; the first error is raised.

    Parameters
    ----------
    rows : the matrix with its folds.
    candidates : in the order of their folds.
    """
    kind = type(candidates[0].model)
    if kind.shared_fit_parameters is None:
        learn_apart(rows, candidates)
    else:
        kind._fit_many(rows, candidates)
    for candidate in candidates:
        if candidate.error is not None:
            raise candidate.error


def held_out(rows: FoldedView, models: Sequence[Any], answer: Answer, width: int) -> MatrixView:
    """The rows with what the model that learned without them says of them as features.

    Parameters
    ----------
    rows : ordered by their places.
    models : that of each place; others behind them are not asked.
    answer : asks a model.
    width : how many numbers it gives for a row.
    """

    def change(block: Block) -> Block:
        made = [np.zeros((0, width)), *(answer(models[k], part.X) for k, part in rows.parts(block))]
        return _with_answers(block, np.concatenate(made))

    return rows.view.mapped(change, width)


def answered(view: MatrixView, model: Any, answer: Answer, width: int) -> MatrixView:
    """The rows with what a model says of them as features.

    Parameters
    ----------
    view : the rows.
    model, answer, width : as for `held_out`.
    """
    return view.mapped(lambda block: _with_answers(block, answer(model, block.X)), width)


def _with_answers(block: Block, answers: np.ndarray) -> Block:
    return replace(block, X=np.asfortranarray(answers), source=block.source_hashes())
