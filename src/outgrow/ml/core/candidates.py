"""Several settings of one model, and several folds, as one piece of work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from outgrow.engine.context import FitContext
from outgrow.engine.folded import FoldedView
from outgrow.engine.together import side_by_side


@dataclass(eq=False)
class Candidate:
    """A model with its setting, to be learnt from one fold of the rows.

    Attributes
    ----------
    error : what went wrong with it, if something did; the others go on.
    """

    model: Any
    fold: int
    error: Exception | None = None

    def attempt(self, learn: Callable[[], None]) -> None:
        """Do a part of the learning, unless an earlier one failed; note the error if this one does.

        It must fail on all ranks or on none, as what is computed from merged states does.
        """
        if self.error is not None:
            return
        try:
            learn()
        except (ValueError, ArithmeticError) as error:
            self.error = error


def usable(rows: FoldedView, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates whose folds can be learnt from; the others note why not.

    Parameters
    ----------
    rows : the matrix with its folds; a fold needs rows to learn from, and of each class some.
    candidates : of any folds of these rows; one that has failed before stays out.
    """
    for candidate in candidates:
        candidate.attempt(lambda k=candidate.fold: rows.check(k))  # type: ignore[misc]
    return [candidate for candidate in candidates if candidate.error is None]


def side_by_side_fits(
    rows: FoldedView, candidates: Sequence[Candidate], learn: Callable[[Candidate, FoldedView], None]
) -> None:
    """Let each candidate learn by itself, in passes that all of them share.

    Parameters
    ----------
    rows : the matrix with its folds.
    candidates : those that have failed do nothing.
    learn : gets a candidate and the rows, whose `reduce` waits for the other candidates; what it raises is
        noted on the candidate.
    """

    def alone(candidate: Candidate) -> Callable[[FitContext], None]:
        return lambda run: candidate.attempt(lambda: learn(candidate, rows.on(run)))

    side_by_side(rows.view.run, [alone(candidate) for candidate in candidates])


def learn_apart(rows: FoldedView, candidates: Sequence[Candidate]) -> None:
    """The ordinary fit of each candidate, in passes that all of them share.

    Parameters
    ----------
    rows : the matrix with its folds.
    candidates : each model's `_fit` gets the rows of its own fold.
    """
    side_by_side_fits(rows, candidates, lambda one, view: one.model._fit(view.fold(one.fold)))
