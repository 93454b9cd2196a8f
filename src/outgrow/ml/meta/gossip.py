"""What ensembles share of which each member learned from other rows than the rest, none of which moved."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from outgrow.data.hashing import unit
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.identified import identified
from outgrow.engine.matrix import MatrixView
from outgrow.engine.outcome import guarded
from outgrow.engine.own_rows import with_own_rows
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.candidates import Candidate
from outgrow.ml.core.parameters import RANDOM_STATE, Integer, OneOf, Share, seed
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.meta.folds import answered, dealt, learn_all
from outgrow.ml.meta.parts import ESTIMATOR, AroundModel, check_model
from outgrow.ml.meta.several import AroundSeveral, learned_of
from outgrow.ml.meta.whole_pipeline import as_given, as_model, is_pipeline
from outgrow.stats.site_models import SiteModels

AVERAGE, STACK = "average", "stack"
_HELD_OUT = 0x60551F
"""Of the hashes that hold rows out for the last model."""
PARAMETERS = {
    "estimator": ESTIMATOR,
    "combine": OneOf(AVERAGE, STACK),
    "members": Integer(low=1) | None,
    "weights": OneOf("rows", "equal"),
    "final_estimator": ESTIMATOR | None,
    "holdout": Share(above=0, high=0.9),
    "random_state": RANDOM_STATE,
}


class Gossip(AroundModel):
    """Models that each learned from rows of their own, and are asked together. Hooks: `_combination`."""

    exempt = {"weights_are_repetitions": "dealing draws rows, not weights"}
    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "dealing draws rows, not weights",
    )
    combine: str
    members: int | None
    weights: str
    final_estimator: Any
    holdout: float
    random_state: Any

    weights_: np.ndarray
    ranks_: np.ndarray
    final_: dict[str, Any]
    _combined: Any = None

    @property
    def estimators_(self) -> list[Any]:
        """The fitted models, one for each member."""
        check_is_fitted(self)
        return as_given(self._parts)

    @property
    def final_estimator_(self) -> Any:
        """With 'stack', the fitted last model; its columns are called as the members are."""
        check_is_fitted(self)
        if self.combine != STACK:
            raise AttributeError("final_estimator_: there is none with combine='average'.")
        return self._combined._last

    @property
    def _final(self) -> Any:
        """The model that learns from what the others answer, not fitted."""
        return as_model(self.final_estimator)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        kind = "classifier" if is_classifier(self) else "regressor"
        if is_classifier(self._inner) != is_classifier(self):
            raise ParameterError(
                f"{type(self).__name__}(estimator=...): the estimator {type(self._inner).__name__} should be "
                f"a {kind}."
            )
        if self.combine != STACK:
            if self.final_estimator is not None:
                raise ParameterError(
                    f"{type(self).__name__}(final_estimator=...) learns with combine='stack' alone. Say so, "
                    "or leave it out."
                )
            return
        if self._final is not None:
            check_model(self, self._final, "final_estimator")
            if is_classifier(self._final) != is_classifier(self):
                raise ParameterError(
                    f"{type(self).__name__}(final_estimator=...): it should be a {kind}, and "
                    f"{type(self._final).__name__} is none."
                )

    # ---- learn -------------------------------------------------------------------------------------------

    def _learn(self, view: MatrixView) -> None:
        learned, held = (view, None) if self.combine == AVERAGE else self._held_out(view)
        if self.members is None:
            self._learn_alone(learned)
        else:
            self._learn_dealt(learned, self.members)
        self._combined = self._combination(self._parts)
        if held is not None:
            self._learn_last(held)
            held.tiles.release()

    def _held_out(self, view: MatrixView) -> tuple[MatrixView, MatrixView]:
        """The rows that members learn from, and those that the last model does."""
        chosen_by = _HELD_OUT + seed(self.random_state) + (self._depth << 32)
        placed = view.placed(lambda block: unit(block.hashes(chosen_by)) < self.holdout)
        try:
            return tuple(placed.subset(np.array(keep)) for keep in ((True, False), (False, True)))  # type: ignore[return-value]
        except DataError as error:
            raise DataError(
                f"{type(self).__name__}(holdout={self.holdout}) leaves too few rows on one side: {error} "
                "Give more rows, another holdout, or combine='average'."
            ) from error

    def _learn_alone(self, view: MatrixView) -> None:
        """A member for each rank that has rows; then all ranks know all members."""
        run = view.run

        def own(_: None) -> SiteModels:
            member = with_own_rows(view, partial(self._own_member, run.comm.rank))
            return SiteModels([] if member is None else [member])

        found = run.call(lambda: run.combine(guarded(own)(None)).get())
        without = [member["rank"] for member in found.members if member["learned"] is None]
        members = [member for member in found.members if member["learned"] is not None]
        if not members:
            raise DataError(
                f"{type(self).__name__}: no rank has rows of two classes, so none can learn by itself. Deal "
                "the rows anew, or choose members=, which deals them by their hashes."
            )
        if without:
            warnings.warn(
                f"{type(self).__name__}: ranks {without} have rows of one class alone and no model of their "
                "own; the others answer for them.",
                stacklevel=2,
            )
        self.ranks_ = np.array([int(member["rank"]) for member in members])
        self._take([member["learned"] for member in members], [member["about"] for member in members])

    def _own_member(self, rank: int, view: MatrixView, weight: float) -> dict[str, Any]:
        """What this rank learns from its own rows."""
        learned, (rows, about) = None, self._own_rows(view)
        if rows is not None:
            part = self._member(about)
            part._fit(rows)
            learned = self._own_learned(part)
        about = {**about, "weight": weight}
        return {"rank": rank, "kinds": kinds_within(self._inner), "learned": learned, "about": about}

    def _own_rows(self, view: MatrixView) -> tuple[MatrixView | None, dict[str, Any]]:
        """The rows of a rank as its model learns from them, or None, and what is to be told of them."""
        return view, {}

    def _member(self, about: dict[str, Any]) -> Any:
        """A model that has noted the columns, and learns from such rows."""
        return self._new_part()

    def _learn_dealt(self, view: MatrixView, members: int) -> None:
        """Members of rows dealt by their hashes, the same on any engine; they learn in shared passes."""
        if view.rows < members:
            raise DataError(
                f"members={members} need as many rows; there is n_samples = {view.rows}. Give fewer members."
            )
        known = identified(view)
        rows = dealt(known, members, self._seed + seed(self.random_state), self._scarce(known, members))
        train = np.vstack([np.eye(members, dtype=bool), np.ones((1, members), dtype=bool)])
        folded = FoldedView.of(rows, train)
        parts = [self._member({}) for _ in range(members)]
        learn_all(folded, [Candidate(part, k) for k, part in enumerate(parts)])

        def weigh(block: Block) -> np.ndarray:
            return np.bincount(np.asarray(block.place), block.weight, members + 1).astype(np.float64)

        weights = rows.reduce(weigh)[:members]
        rows.tiles.release()
        if not weights.all():
            weights = np.ones(members)
        self.ranks_ = np.zeros(0, dtype=np.int64)
        self._take([self._own_learned(part) for part in parts], [{"weight": weight} for weight in weights])

    def _scarce(self, view: MatrixView, members: int) -> np.ndarray | None:
        """Which classes have too few rows for each member to get one: all members learn from those."""
        if view.labels.classes is None:
            return None
        classes = len(view.classes)

        def count(block: Block) -> np.ndarray:
            weight = None if block.weight is None else (block.weight > 0).astype(np.float64)
            return np.bincount(np.asarray(block.y), weight, classes).astype(np.float64)

        scarce: np.ndarray = view.reduce(count) < members
        return scarce

    def _own_learned(self, part: Any) -> dict[str, Any]:
        """What a part learned beside what all parts note of the columns."""
        common = self._noted._learned()
        return {n: v for n, v in part._learned().items() if n not in common or common[n] is not v}

    def _take(self, learned: list[dict[str, Any]], about: list[dict[str, Any]]) -> None:
        """Note what members learned, and what they count."""
        self._keep([])
        self.learned_ = learned
        each = np.array([member["weight"] if self.weights == "rows" else 1.0 for member in about])
        self.weights_ = each / each.sum()
        self._note(about)
        self._parts = [self._part(own) for own in learned]

    def _note(self, about: list[dict[str, Any]]) -> None:
        """Note what is known of the rows of each member."""

    def _part(self, learned: dict[str, Any]) -> Any:
        if self._noted is None:
            return super()._part(learned)
        part = self._new_part()  # it knows how columns became numbers
        part._restore({**self.common_, **learned})
        return part

    def _learn_last(self, held: MatrixView) -> None:
        """Let the last model learn from what the members answer for rows held out, over all ranks."""
        stacking = self._combined
        names = stacking._names(0)
        answers = answered(held, None, lambda _, X: stacking._stacked(stacking._parts, X), len(names))
        stacking._last = stacking._new_last(held.run, names)
        stacking._last._fit(answers)
        answers.tiles.release()
        self.final_ = learned_of(stacking._last)

    def _restored(self) -> None:
        super()._restored()
        if hasattr(self, "learned_"):
            self._combined = self._combination(self._parts)
            if self.combine == STACK:
                self._combined._trusted = self._trusted
                self._combined.final_ = self.final_
                self._combined._restored()

    # ---- answer ------------------------------------------------------------------------------------------

    def _combination(self, parts: Any) -> Any:
        """What asks the members together: voting, or stacking without its last model."""
        raise NotImplementedError

    def _pairs(self) -> list[tuple[str, Any]]:
        return [(f"member{k}", self._inner) for k in range(len(self.learned_))]

    def _filled(self, combined: AroundSeveral, parts: Any) -> Any:
        """A combination that answers with the members."""
        combined._parts = parts
        combined.features_ = self.features_
        return combined

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        answer: Answer = self._combined._to_onnx(table)
        return answer

    def _sklearn_model(self) -> Any:
        return self._combined._sklearn_model()


def kinds_within(model: Any) -> list[str]:
    """The modules of all estimators within one, by which a site says what may leave it.

    Parameters
    ----------
    model : not fitted.
    """
    return sorted({type(each).__module__ for each in _within(model)})


def _within(model: Any) -> Iterator[Any]:
    if is_pipeline(model):
        model = model.pipeline
    yield model
    for value in model.get_params(deep=True).values():
        if hasattr(value, "get_params"):
            yield value
