"""What trees shall grow, and what has grown: all that those who grow them have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.collective import Communicator
from outgrow.engine.context import FitContext

TOO_SMALL = (
    "Input X contains a column whose numbers are all too small for float32 (below 1.4e-45), in which "
    "trees keep "
    "features: it would be 0 throughout. Scale that column."
)
TOO_LARGE = (
    "Input X contains a value too large for float32 (beyond 3.4e38), in which trees keep features. "
    "Scale that column."
)


Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The loss of each row, from y and the sums of the trees."""


class Gradients(Protocol):
    """The derivatives of a loss that XGBoost does not have."""

    def __call__(self, y: np.ndarray, sums: np.ndarray, weight: np.ndarray, comm: Communicator) -> Any:
        """The first and second derivatives, each of shape (rows,), for the rows of this rank."""

    def loss(self, y: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """The loss of each row, which is told, and decides when to end; trees learn from the derivatives.

        Parameters
        ----------
        y : shape (rows,), as the plan's `label` gives it.
        sums : shape (rows,), what the trees add up to.
        """


Objective = Callable[[np.ndarray, Any], Any]
"""The derivatives, from what the trees add up to for XGBoost's matrix of rows, and that matrix."""
Metric = Callable[[np.ndarray, int], float]
"""The loss, from the sums for the rows to learn from (0) or for those held out (1); of all ranks."""


class OfLists(Protocol):
    """A loss of lists of rows, such as the documents of a query, which no row has by itself."""

    def bound(self, run: FitContext, parts: Sequence[Sequence[Block]]) -> tuple[Objective, Metric]:
        """The loss for the rows of this rank.

        Parameters
        ----------
        run : has the ranks, over which lists may be cut, and the threads.
        parts : blocks of the rows to learn from and of those held out, if any, in the order of their sums.
        """


@dataclass(frozen=True)
class Draw:
    """How the rows that each tree sees are drawn.

    Attributes
    ----------
    share : of the rows; with replacement, how often each is drawn on average.
    replacement : a row may be drawn several times: as many times as Poisson's law says.
    """

    share: float
    replacement: bool = False


@dataclass(frozen=True)
class Stop:
    """When boosting ends before its last round, and what then stays.

    Attributes
    ----------
    patience : so many rounds that are no better than the best before end it.
    tol : by how much a round must be better.
    score : scores what the trees so far answer for the watched rows: of features, y, weights and answers;
        greater is better. None for the loss.
    keep_best : only the trees up to the best round stay.
    before : scores of the rounds that were grown before.
    """

    patience: int
    tol: float = 0.0
    score: Callable[[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray], float] | None = None
    keep_best: bool = True
    before: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def reached(self, scores: np.ndarray) -> bool:
        """Whether these scores, the latest last, say that it is time."""
        if len(scores) <= self.patience:
            return False
        return bool(scores[-self.patience :].max() <= scores[: -self.patience].max() + self.tol)


@dataclass(frozen=True)
class Plan:
    """What to grow.

    Attributes
    ----------
    parameters : those of `xgboost.train`.
    rounds : rounds of boosting.
    label : what XGBoost shall predict for the rows of a block; shape (rows,) or (rows, outputs).
    factors : weight of each class, or None.
    weight_factor : by which weights are multiplied.
    sample : how the rows that each tree sees are drawn, by their hashes; None where it sees all.
    apart : the trees learn apart from each other, as those of a forest do, and their mean is the answer.
    targets : how many numbers a row has as its label, also on a rank that has no rows.
    classes : how many neighbours of them are 1 for one class each and 0 otherwise, target by target, so that
        one tree may learn them together; empty where each is learned by itself.
    bins : of each feature, where kernels of ours grow the trees; None for as many as XGBoost's.
    kinds : 'q' or 'c' (a category) of each feature, or None for all numbers.
    numbers : whether a zero of each feature is a number even in sparse rows, or None for no feature.
    held_out : share of the rows that only watch, chosen by their hash; 0 for none.
    held_by : the role of a key whose rows are held out together; None, or one that rows lack, for row by row.
    held_after : the role of a moment by which the last rows are held out; None, or one that rows lack, for
        none.
    stop : when to end before the last round, or None.
    gradients : makes XGBoost's objective for losses that it does not have, or None.
    lists : makes the objective of a loss of lists of rows, or None.
    leaves : of what is left in a leaf, which quantile its trees answer; None for XGBoost's leaves.
    begun : the trees of an earlier fit, to which new ones are added, in XGBoost's UBJSON format; or None.
    follow : note the loss after each round even if nobody listens, and that of rows a tree did not see.
    loss : of each row, from its label and the sums of the trees.
    seed : of the choice of rows.
    told : called a few times on the way with the share of the rounds that is done and what the trees so far
        answer for the rows that the view watches; None for nobody.
    grower : the library that grows the trees, 'xgboost' or 'lightgbm'; the booster is XGBoost's of both.
    entropy, draws_splits, least_split, leaf_price : what kernels of ours alone can do: splits lower the
        entropy of classes; each feature tried is split at a number drawn between its least and its greatest;
        the least weight of a node that is split; what each leaf must lower, of what `gamma` says of splits.
    """

    parameters: Mapping[str, Any]
    rounds: int
    label: Callable[[Block], np.ndarray]
    factors: np.ndarray | None = None
    weight_factor: float = 1.0
    sample: Draw | None = None
    apart: bool = False
    targets: int = 1
    classes: tuple[int, ...] = ()
    bins: int | None = None
    kinds: tuple[str, ...] | None = None
    numbers: np.ndarray | None = None
    held_out: float = 0.0
    held_by: str | None = None
    held_after: str | None = None
    stop: Stop | None = None
    gradients: Gradients | None = None
    lists: OfLists | None = None
    leaves: float | None = None
    begun: bytes | None = None
    follow: bool = False
    loss: Loss | None = None
    seed: int = 0
    told: Callable[[float, np.ndarray], None] | None = None
    grower: str = "xgboost"
    entropy: bool = False
    draws_splits: bool = False
    least_split: float = 0.0
    leaf_price: float = 0.0

    @property
    def outputs(self) -> int:
        """How many sums the trees add to; a round grows one for each."""
        return int(self.parameters.get("num_class", 1))

    @property
    def ours_alone(self) -> list[str]:
        """What XGBoost cannot do of this, in words."""
        wishes = {
            "entropy as the criterion": self.entropy,
            "splits drawn at random": self.draws_splits,
            "min_samples_split": self.least_split > 0,
            "ccp_alpha": self.leaf_price > 0,
        }
        return [name for name, wanted in wishes.items() if wanted]

    @property
    def key(self) -> Hashable:
        """Equal for plans that read the same rows, with the same bins."""
        factors = None if self.factors is None else self.factors.tobytes()
        rows = (factors, self.weight_factor, self.held_out, self.held_by, self.held_after)
        return (self.parameters["max_bin"], self.kinds, rows, self.seed, self.sample is not None)


@dataclass(frozen=True)
class Grown:
    """What has grown.

    Attributes
    ----------
    content : the booster in XGBoost's UBJSON format.
    rounds : how many it has.
    gains : ndarray of shape (features,), what the splits on each gained.
    train_loss, validation_loss : the mean loss after each new round on the rows learned from, and on those
        held out; empty where nobody asked.
    scores : ndarray of shape (rounds,), by what `Stop` decided, greater is better; empty without it.
    out_of_bag : ndarray of shape (rounds, 2), the mean loss of the rows that a new tree did not see before
        and after it; empty where nobody asked.
    zeros_absent : whether zeros count as missing.
    """

    content: bytes
    rounds: int
    gains: np.ndarray
    train_loss: np.ndarray
    validation_loss: np.ndarray
    zeros_absent: bool
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    out_of_bag: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


def weighted(block: Block, plan: Plan) -> Block:
    """The block with the weights that a plan says, without the rows that weigh nothing.

    Parameters
    ----------
    block : its rows, with y as numbers of classes where the plan weighs classes.
    plan : says class weights and the factor of all weights.
    """
    weight = block.weight
    if plan.factors is not None:
        weight = plan.factors[block.y] if weight is None else weight * plan.factors[block.y]
    if weight is None:
        if plan.weight_factor == 1:
            return block
        weight = np.ones(len(block))
    block = replace(block, weight=weight * plan.weight_factor)
    assert block.weight is not None
    weight = block.weight
    return block if weight.all() else block.take(weight > 0)
