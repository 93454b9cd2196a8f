"""What all boosting has in common: what its parameters say, how trees grow, and what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import (
    FLAG,
    FUNCTION,
    RANDOM_STATE,
    TEXT,
    Integer,
    Number,
    OneOf,
    Unused,
    described,
)
from outgrow.ml.core.task import Task
from outgrow.ml.core.weights import ClassWeight
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.trees.asking import answers
from outgrow.ml.trees.base import MAX_FEATURES, TreeClassifier, TreeModel, TreeRegressor
from outgrow.ml.trees.constraints import NO_ORDER_OF_CLASSES, interactions, monotone
from outgrow.ml.trees.leaves import least_gain, least_weight
from outgrow.ml.trees.losses import (
    POISSON_STEP,
    REGRESSION,
    LossKind,
    check_target,
    classification,
)
from outgrow.ml.trees.onnx import boosted
from outgrow.ml.trees.plan import Draw, Plan, Stop
from outgrow.ml.trees.scoring import score_of
from outgrow.ml.trees.sklearn import boosted_classifier
from outgrow.ml.trees.tree import RegressionTree

VALIDATION_BY = "validation_by"
"""The role of a key whose rows early stopping holds out together."""
VALIDATION_TIME = "validation_time"
"""The role of a moment whose last rows early stopping holds out."""
FOLLOWED_ROWS = 30_000
"""Of so many rows the loss is noted after each round even if nobody listens; of more it costs a tenth."""


@dataclass(frozen=True)
class Settings:
    """What the parameters of a class say, under one name each.

    Attributes
    ----------
    patience : rounds without gain after which to stop; None for never.
    held_out : share of the rows that only watch.
    keep_best : after stopping only the trees up to the best round stay.
    """

    rounds: int
    subsample: float = 1.0
    min_child_weight: float = 0.0
    l2: float = 0.0
    l1: float = 0.0
    min_impurity_decrease: float = 0.0
    patience: int | None = None
    held_out: float = 0.0
    keep_best: bool = True


class Boosting(TreeModel):
    """Trees one after the other, each lowering what the loss of those before it is."""

    tells_rounds = True
    roles = {VALIDATION_BY: False, VALIDATION_TIME: False}
    role_labels = (VALIDATION_BY,)
    role_times: ClassVar[tuple[str, ...]] = (VALIDATION_TIME,)
    parameters = {
        "learning_rate": Number(above=0),
        "max_depth": Integer(low=1) | None,
        "max_leaf_nodes": Integer(low=2) | None,
        "max_features": MAX_FEATURES,
        "l2_regularization": Number(low=0),
        "max_bins": Integer(low=2),
        "validation_fraction": Number(above=0, high=0.9) | None,
        "scoring": OneOf("loss") | TEXT | FUNCTION | None,
        "tol": Number(low=0),
        "warm_start": FLAG,
        "monotonic_cst": described("-1, 0 or 1 for each feature, a dictionary of columns, or None"),
        "interaction_cst": described("groups of features, 'pairwise', 'no_interactions' or None"),
        "random_state": RANDOM_STATE,
        "verbose": Unused(),
    }

    loss: str
    learning_rate: float
    max_depth: int | None
    max_leaf_nodes: int | None
    min_samples_leaf: int | float
    max_bins: int
    scoring: Any
    tol: float
    warm_start: bool
    monotonic_cst: Any
    interaction_cst: Any
    random_state: Any
    early_stopping: Any
    validation_fraction: float | None

    _whole_steps = False
    """Whether a leaf moves by a whole step of Newton's method where XGBoost makes half of one."""
    _holds_out = False
    """Whether a fit was given a column by which rows are held out, which means that it stops early."""
    n_iter_: int
    train_loss_: np.ndarray
    validation_loss_: np.ndarray
    scores_: np.ndarray
    out_of_bag_: np.ndarray

    def _given_roles(
        self, given: dict[str, Any], owner: str = "", prefix: str = "", verb: str = "fit"
    ) -> dict[str, Any]:
        found = super()._given_roles(given, owner, prefix, verb)
        if VALIDATION_BY in found and VALIDATION_TIME in found:
            raise ParameterError(
                f"{owner or type(self).__name__}.{verb} takes {prefix}{VALIDATION_BY}, which holds out keys, "
                f"or {prefix}{VALIDATION_TIME}, which holds out the last rows; both are given. Leave one out."
            )
        if verb == "fit" and (holding := sorted({VALIDATION_BY, VALIDATION_TIME} & set(found))):
            self._check_holding_out(prefix + holding[0])
        return found

    def _check_holding_out(self, role: str) -> None:
        """Refuse a column by which rows are held out where none would be."""
        never = self.early_stopping is not None and not self.early_stopping
        if never or self.validation_fraction is None:
            why = "early_stopping=False" if never else "validation_fraction=None"
            raise ParameterError(
                f"{type(self).__name__}({why}) holds no rows out, so {role} would change nothing. Give "
                f"{'early_stopping=True' if never else 'a fraction'}, or leave {role} out."
            )

    def _prepared(self, shard: Shard, task: Task) -> Shard:
        self._holds_out = bool({VALIDATION_BY, VALIDATION_TIME} & set(task.roles))
        return super()._prepared(shard, task)

    def _settings(self, rows: int) -> Settings:
        """What the parameters say for so many rows."""
        raise NotImplementedError

    def _alpha(self) -> float:
        """The quantile that the losses 'quantile' and 'huber' have."""
        return 0.5

    def _from_raw(self, raw: np.ndarray) -> np.ndarray:
        """What the trees answer as the model does."""
        raise NotImplementedError

    def _boost(
        self,
        view: MatrixView,
        kind: LossKind,
        label: Callable[[Block], np.ndarray],
        least: float,
        **plan: Any,
    ) -> None:
        """Grow the trees; `least` is the least second derivative in a leaf that its least rows have."""
        seed, said = self._learn_seed(), self._settings(view.rows)
        excess = kind.excess if self._whole_steps else 1.0
        tell = None if view.watch is None else view.watch.tell
        growth = {
            **monotone(self.monotonic_cst, self.features_, view.width, type(self).__name__),
            **interactions(self.interaction_cst, self.features_, view.width),
            "learning_rate": excess * float(self.learning_rate),
            "colsample_bynode": self._share_of_features(view.width),
            "min_child_weight": max(excess * float(said.min_child_weight), least),
            "reg_lambda": excess * said.l2,
            "reg_alpha": said.l1,
            "seed": seed,
            "seed_per_iteration": True,
            **self._shape(view.width, self.max_depth, self.max_bins, self.max_leaf_nodes),
            **kind.parameters,
        }
        grown = self._grow(
            view,
            Plan(
                {**growth, **plan.pop("parameters", {})},
                said.rounds,
                label,
                held_out=said.held_out if said.patience is not None else 0.0,
                held_by=self.role_labels[0],
                held_after=self.role_times[0] if self.role_times else None,
                stop=self._stop(said),
                gradients=kind.gradients,
                leaves=kind.leaves,
                follow=view.rows <= FOLLOWED_ROWS and not view.run.many,
                loss=kind.value,
                seed=seed,
                sample=Draw(said.subsample) if said.subsample < 1 else None,
                kinds=self._kinds,
                told=None if tell is None else lambda share, raw: tell(share, self._from_raw(raw)),
                grower=getattr(self, "grower", "xgboost"),
                **plan,
            ),
        )
        self.n_iter_ = grown.rounds
        self.best_iteration_ = self.n_iter_ - 1
        self._note("train_loss_", grown.train_loss, kind.noted_power)
        self._note("validation_loss_", grown.validation_loss, kind.noted_power)
        self._note_out_of_bag(self._in_units(grown.out_of_bag, kind.power))
        self.scores_ = grown.scores

    def _note(self, name: str, losses: np.ndarray, power: int) -> None:
        known = self._known(name)
        new = self._in_units(losses, power)
        setattr(self, name, new if known is None else np.concatenate([known, new]))

    def _in_units(self, losses: np.ndarray, power: int) -> np.ndarray:
        """Losses as those of y itself."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for _ in range(power):
                losses = losses * self._unit
        return losses

    def _note_out_of_bag(self, losses: np.ndarray) -> None:
        known = self._known("out_of_bag_")
        if known is not None and len(losses):
            grown = int(self.n_iter_) - len(losses)
            losses = np.concatenate([known if len(known) else np.zeros((grown, 2)), losses])
        self.out_of_bag_ = losses[: self.n_iter_]

    def _stop(self, said: Settings) -> Stop | None:
        if said.patience is None:
            return None
        own = self.scoring == "loss" if isinstance(self.scoring, str) else False
        score = None if own else score_of(self, self.scoring)
        tol = float(self.tol) if score is not None else self._tolerance(float(self.tol))
        before = self._known("scores_")
        return Stop(
            said.patience, tol, score, said.keep_best, np.zeros(0) if before is None else np.asarray(before)
        )

    def _tolerance(self, tol: float) -> float:
        """The least gain as XGBoost's loss counts it."""
        return tol

    @property
    def _unit(self) -> float:
        """In what y is measured."""
        return 1.0

    def _grown_rounds(self) -> int:
        return int(self.n_iter_)

    def _of_bag(self, losses: np.ndarray) -> np.ndarray:
        if not len(self.out_of_bag_):
            raise AttributeError(
                f"{type(self).__name__} has no rows out of the bag: with subsample=1 each tree sees "
                "all, and past "
                f"{FOLLOWED_ROWS:,} rows nobody looks."
            )
        return losses

    @property
    def oob_scores_(self) -> np.ndarray:
        """The mean loss after each round on the rows that its tree did not see."""
        return self._of_bag(self.out_of_bag_[:, 1])

    @property
    def oob_score_(self) -> float:
        """The last of `oob_scores_`."""
        return float(self._of_bag(self.out_of_bag_[:, 1])[-1])

    @property
    def oob_improvement_(self) -> np.ndarray:
        """By how much each tree lowered the mean loss of the rows that it did not see."""
        return self._of_bag(self.out_of_bag_[:, 0] - self.out_of_bag_[:, 1])

    @property
    def n_trees_per_iteration_(self) -> int:
        """How many trees a round grows."""
        check_is_fitted(self)
        return len(self._structures(1.0)[0]) if self.n_iter_ else 1

    @property
    def estimators_(self) -> np.ndarray:
        """The trees, of shape (rounds, trees of a round): models that take arrays as the trees see them."""
        rounds = self._structures(float(self.learning_rate))
        found = np.empty((len(rounds), len(rounds[0])), dtype=object)
        for number, trees in enumerate(rounds):
            for output, tree in enumerate(trees):
                found[number, output] = RegressionTree(
                    [tree],
                    scale=self._unit,
                    max_depth=self.max_depth,
                    min_impurity_decrease=getattr(self, "min_impurity_decrease", 0.0),
                    random_state=self.seed_ + number,
                    zeros_absent=self._absent,
                )
        return found

    def _sums(self, X: Any) -> np.ndarray:
        """What the trees add up to, before the link of the loss."""
        return answers(self._booster, self._asked(X), sums=True)


class BoostingClassifier(Boosting, TreeClassifier):
    """Boosting of classes."""

    class_weight: ClassWeight

    def _fit(self, view: MatrixView) -> None:
        weights, totals = self._weigh_classes(view)
        if self.monotonic_cst is not None and len(totals) > 2:
            raise ParameterError(NO_ORDER_OF_CLASSES.format(len(totals)))
        shares = totals / totals.sum()
        kind, steep = classification(self.loss, shares)
        start = {"base_score": 0.5} if self._starts_at_zero() and kind.link != "identity" else {}
        if self._starts_at_zero() and kind.link == "identity":
            start = {"base_score": 0.0}
        weight = float(totals.sum()) * weights["weight_factor"]
        said = self._settings(view.rows)
        start |= least_gain(said.min_impurity_decrease, weight)
        least = least_weight(self, view.rows, weight) * steep
        self._boost(view, kind, _index, least, parameters=start, **weights)

    def _starts_at_zero(self) -> bool:
        return getattr(self, "init", None) == "zero"

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self._from_raw(self._ask(X))

    def _decision_function(self, X: Any) -> np.ndarray:
        return self._sums(X)

    def decision_function(self, X: Any) -> Any:
        """What the trees add up to: of shape (rows,) for two classes, otherwise (rows, classes)."""
        return self._respond(X, "decision_function")

    def staged_decision_function(self, X: Any) -> Iterator[np.ndarray]:
        """What the trees add up to for an array or a table after the first round, the first two, ..."""
        return self._staged(X, self._grown_rounds(), sums=True)

    def staged_predict_proba(self, X: Any) -> Iterator[np.ndarray]:
        """The probabilities for an array or a table after the first round, the first two, ..."""
        check_is_fitted(self)
        return map(self._from_raw, self._staged(X, self.n_iter_))

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """The predictions for an array or a table after the first round, the first two, ..."""
        return (self.classes_[shares.argmax(axis=1)] for shares in self.staged_predict_proba(X))

    def apply(self, X: Any) -> np.ndarray:
        """The leaf of each tree in which each row ends, of shape (rows, rounds, trees of a round)."""
        return self._leaves(X)

    def _from_raw(self, raw: np.ndarray) -> np.ndarray:
        if self.loss == "exponential":
            raw = expit(2 * raw)
        if raw.ndim == 1:
            return np.column_stack([1 - raw, raw])
        # float32 shares sum to one only nearly
        return raw / raw.sum(axis=1, keepdims=True)

    def _to_onnx(self, table: Table) -> Answer:
        return chosen(table.graph, boosted(self, table), self.classes_)

    def _sklearn_model(self) -> Any:
        return boosted_classifier(self)


class BoostingRegressor(Boosting, TreeRegressor):
    """Boosting of numbers."""

    _deviation: float

    def _fit(self, view: MatrixView) -> None:
        kind, said = REGRESSION[self.loss](self._alpha()), self._settings(view.rows)
        parameters: dict[str, Any] = {"base_score": 0.0}
        zero, steep, event = self._starts_at_zero(), 1.0, 1.0
        if kind.centred:
            label, weights, target = self._learn_target(view, kind.start, zero=zero)
        else:
            whole = check_target(self.loss, view)
            label, weights, target = self._learn_mean(view)
            parameters = {"base_score": 1.0 if zero else target.mean}
            if self.loss == "poisson":
                steep = target.mean * np.exp(POISSON_STEP)
                event = 1.0 if whole else target.event()  # penalties count events
                weights = {**weights, "weight_factor": weights["weight_factor"] / event}
        weight = target.weight * weights["weight_factor"]
        # the penalty is of leaves in units of y; that of squares is the same in any
        parameters |= {"reg_alpha": said.l1 / self.scale_}
        parameters |= least_gain(said.min_impurity_decrease, weight, self.scale_)
        self._deviation = target.deviation() if kind.centred else 1.0
        least = least_weight(self, view.rows, weight * event) * float(steep) / event
        self._boost(view, kind, label, least, parameters=parameters, **weights)

    def _starts_at_zero(self) -> bool:
        return getattr(self, "init", None) == "zero"

    def _tolerance(self, tol: float) -> float:
        return tol * self._deviation

    @property
    def _unit(self) -> float:
        return float(self.scale_)

    def _from_raw(self, raw: np.ndarray) -> np.ndarray:
        return raw * self.scale_ + self.offset_

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """The predictions for an array or a table after the first round, the first two, ..."""
        check_is_fitted(self)
        return map(self._from_raw, self._staged(X, self.n_iter_))


def _index(block: Any) -> np.ndarray:
    """The class of each row as XGBoost wants it: a number from 0."""
    return block.y
