"""Federated averaging: sites learn by themselves, and now and then tell how they have changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from outgrow._optional import optional
from outgrow._settings import is_real
from outgrow.deep.strategies.seldom import check_every
from outgrow.deep.strategies.strategy import Running, Strategy
from outgrow.engine.context import FitContext
from outgrow.engine.links import Links
from outgrow.errors import ParameterError
from outgrow.stats.privacy import gaussian_epsilon, secret_normals, shortened
from outgrow.stats.proposals import RULES, Proposals, proposals
from outgrow.stats.robust import Merge

if TYPE_CHECKING:
    from outgrow.deep.replica import Replica

_SERVERS = ("mean", "adam")
_FIRST, _SECOND = 0.9, 0.99


@dataclass(frozen=True)
class FedAvg(Strategy):
    """Ranks take `every` steps by themselves; then the changes of a share of them become one (McMahan 2017).

    Changes are added up as statistics of a fit are, so this works where ranks do not reach each other, as in
    a federation (`og.federated`), also behind its masks (`secure=True`) without a `merge`.

    Parameters
    ----------
    every : steps of a round.
    share : of the ranks with rows, how many tell their change in each round, rounded up; others tell nothing
        then, and all go on from what those have found.
    proximal : pulls parameters back to where the round began, by this times how far they have gone, where
        the rows of sites differ much (FedProx, Li et al. 2020); 0 for not.
    server : 'mean' goes on by the weighted mean of the changes, 'adam' takes that as the gradient of Adam
        (FedAdam, Reddi et al. 2021).
    server_lr : by what the mean is multiplied, or the learning rate of Adam.
    merge : `og.Median()`, `og.TrimmedMean()` or `og.Krum()`, which make one of the changes where some ranks
        may be wrong or lie, instead of the mean by rows. Whoever merges sees each change: in a federation
        that is the coordinator, and sites get what came of it.
    clip : the largest norm of a rank's change in a round; a longer one is shortened to it. None for any.
    noise : standard deviation of the normal noise that is in the sum of the changes of a round, in `clip`
        (McMahan et al. 2018); 0 for none. Each rank adds its share of it, from the operating system's random
        bytes, before its change leaves. Then ranks count alike, and the model has `epsilon_`.
    delta : of the differential privacy whose `epsilon_` the model has; needed with `noise`.
    personal : names of layers that each rank keeps for itself, such as `("head",)`: they are neither told nor
        changed by others (Arivazhagan et al. 2019), and what begins with such a name belongs to it. In a
        federation each site ends with layers of its own, and the coordinator, which has no rows, with those
        from which all began; on other engines those of rank 0 are learned.

    Raises
    ------
    ParameterError
        When a value cannot be.

    Notes
    -----
    `epsilon_` is of the whole fit and a whole rank: how far the model that comes of it may tell whether the
    changes of a rank were what they were, or zero. Who takes part in a round is no secret, so epsilon is of
    as many rounds as the rank took part in that did most often. Steps after the last whole round do not
    count. Inputs and targets are not scaled, and no losses are kept, as these would tell more. Shares of
    noise are so large that those of the others are enough for what a rank may see that knows its own.
    Whoever sees the change of a single rank, as the coordinator of a federation does, sees no more noise in
    it than that share.

    Unlike Flower's strategies: a round is of steps, not of epochs of each site, so a site with fewer rows
    has smaller batches rather than fewer steps, and what a site has counts by its rows.

    Examples
    --------
    >>> import outgrow as og
    >>> og.FedAvg(every=20, share=0.5, proximal=0.01)
    FedAvg(every=20, share=0.5, proximal=0.01, server='mean', server_lr=1.0, merge=None, clip=None,
        noise=0.0, delta=None, personal=())
    """

    every: int = 32
    share: float = 1.0
    proximal: float = 0.0
    server: str = "mean"
    server_lr: float = 1.0
    merge: Merge | None = None
    clip: float | None = None
    noise: float = 0.0
    delta: float | None = None
    personal: Sequence[str] = ()

    needs_links: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_every(self)
        if not (is_real(self.share) and 0 < self.share <= 1):
            raise ParameterError(f"FedAvg(share={self.share!r}): above 0, and at most 1.")
        if not (is_real(self.proximal) and self.proximal >= 0):
            raise ParameterError(f"FedAvg(proximal={self.proximal!r}): at least 0.")
        if self.server not in _SERVERS:
            raise ParameterError(f"FedAvg(server={self.server!r}): one of {list(_SERVERS)}.")
        if not (is_real(self.server_lr) and self.server_lr > 0):
            raise ParameterError(f"FedAvg(server_lr={self.server_lr!r}): above 0.")
        if self.merge is not None and type(self.merge) not in RULES.values():
            raise ParameterError(f"FedAvg(merge={self.merge!r}): one of og.{', og.'.join(RULES)}, or None.")
        listed = isinstance(self.personal, Sequence) and not isinstance(self.personal, str)
        if not listed or not all(isinstance(name, str) and name for name in self.personal):
            raise ParameterError(f"FedAvg(personal={self.personal!r}): a list of names of layers.")
        self._check_privacy()

    def _check_privacy(self) -> None:
        if self.clip is not None and not (is_real(self.clip) and self.clip > 0):
            raise ParameterError(f"FedAvg(clip={self.clip!r}): a norm above 0.")
        if not (is_real(self.noise) and self.noise >= 0):
            raise ParameterError(f"FedAvg(noise={self.noise!r}): at least 0.")
        if self.delta is not None and not (is_real(self.delta) and 0 < self.delta < 1):
            raise ParameterError(f"FedAvg(delta={self.delta!r}): above 0 and below 1, such as 1e-5.")
        if not self.noise:
            return
        if self.clip is None:
            raise ParameterError(f"FedAvg(noise={self.noise}): give clip, the norm that it is a multiple of.")
        if self.delta is None:
            raise ParameterError(f"FedAvg(noise={self.noise}): give delta, below 1 by the number of sites.")
        if self.merge is not None:
            raise ParameterError("FedAvg takes noise or a merge: what noise hides is known of a mean alone.")

    @property
    def private(self) -> bool:  # type: ignore[override]
        """Whether what ranks tell has noise in it."""
        return self.noise > 0

    @property
    def repeatable(self) -> bool:  # type: ignore[override]
        """Whether the same fit gives the same bits again; noise is never the same."""
        return not self.private

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """See `Strategy.start`.

        Parameters
        ----------
        run, replica, links, seed : as there.

        Raises
        ------
        ParameterError
            When rounds may go on without some of those whose noise is counted on.
        """
        if self.private and getattr(run.comm, "does_without", False):
            raise ParameterError(
                "FedAvg(noise=) counts on the noise of all that tell in a round, and a quorum below 1 goes "
                "on without some of them. Leave one out."
            )
        return _Running(self, run, replica, seed)


class _Running(Running):
    def __init__(self, strategy: FedAvg, run: FitContext, replica: Replica, seed: int) -> None:
        super().__init__(replica, None)
        self._telling = 0
        run.comm.rounds = True  # type: ignore[attr-defined]
        self._strategy, self._run, self._seed = strategy, run, seed
        self._shared = ~personal_numbers(replica, strategy.personal)
        self.memory["anchor"] = replica.numbers()
        self.memory["weight"] = np.zeros(1)
        self.memory["rounds"] = np.zeros(1, np.int64)
        self.memory["with_rows"] = np.zeros(run.comm.size)
        self.memory["told"] = np.zeros(run.comm.size, np.int64)
        if strategy.server == "adam":
            self.memory["first"] = np.zeros(len(self.memory["anchor"]))
            self.memory["second"] = np.zeros(len(self.memory["anchor"]))

    def close(self) -> None:
        """See `Running.close`."""
        self._run.comm.rounds = False  # type: ignore[attr-defined]

    def gradients(self, sums: np.ndarray) -> np.ndarray:
        """See `Running.gradients`."""
        sums = super().gradients(sums)
        if self._strategy.proximal and sums[1]:
            parameters = self.replica.parameters
            began = self.memory["anchor"][: len(parameters)]
            torch = optional("torch", "torch")
            anchor = torch.as_tensor(began, dtype=torch.float64, device=parameters.device)
            away = parameters - anchor
            if not self._shared.all():
                away[torch.as_tensor(~self._shared[: len(parameters)], device=parameters.device)] = 0
            self.replica.gradient.add_(away, alpha=self._strategy.proximal)
        return sums

    def merge(self, weight: float) -> None:
        """See `Running.merge`."""
        self.memory["weight"] += weight
        if self.replica.step % self._strategy.every == 0:
            change = self._mean_change(self._takes_part())
            if change is not None:
                self.memory["anchor"] += self._gone_on(change)
            self._keep_own(self.memory["anchor"])
            self.replica.put(self.memory["anchor"])
            self.replica.count_batches()
            self.memory["weight"][:] = 0.0
            self.memory["rounds"] += 1

    def shared(self) -> np.ndarray:
        """See `Running.shared`: what was told, and, where that is no secret, what has changed since."""
        anchor: np.ndarray = self.memory["anchor"].copy()
        change = None if self._strategy.private else self._mean_change(takes_part=True)
        return self._keep_own(anchor if change is None else anchor + change)

    def _keep_own(self, numbers: np.ndarray) -> np.ndarray:
        """The numbers, in which what is personal is what this rank has."""
        if not self._shared.all():
            numbers[~self._shared] = self.replica.numbers()[~self._shared]
        return numbers

    def _whole(self, shared: np.ndarray) -> np.ndarray:
        """The change of all numbers, of which that of what is personal was not told."""
        whole = np.zeros(len(self._shared), np.float32)
        whole[self._shared] = shared
        return whole

    def _mean_change(self, takes_part: bool) -> np.ndarray | None:
        """How the ranks that take part have changed, in the weighted mean; None where none has."""
        mine = float(self.memory["weight"][0])
        if self._strategy.merge is not None:
            return self._robust(self._strategy.merge, mine if takes_part else 0.0)
        state = None
        if self._strategy.private:
            state = self._noisy() if takes_part else None
        elif takes_part and mine:
            state = self._change().astype(np.float64) * mine, np.array([mine])
        if state is not None:
            state = state[0][self._shared], state[1]
        merged = self._run.call(lambda: self._run.combine(state))
        if merged is None or not merged[1][0]:
            return None
        return self._whole((merged[0] / merged[1][0]).astype(np.float32))

    def _change(self) -> np.ndarray:
        """How this rank has changed, by no more than it may."""
        change: np.ndarray = np.where(self._shared, self.replica.numbers() - self.memory["anchor"], 0)
        return change if self._strategy.clip is None else shortened(change, self._strategy.clip)

    def _noisy(self) -> tuple[np.ndarray, np.ndarray]:
        """The change of this rank and its share of the noise; of buffers nothing is told."""
        assert self._strategy.clip is not None
        size, anchor = len(self.replica.parameters), self.memory["anchor"]
        if (self.replica.numbers()[size:] != anchor[size:]).any():
            raise ParameterError(
                "FedAvg(noise=): layers such as BatchNorm keep running means of rows, to which noise cannot "
                "be added. Take LayerNorm or GroupNorm."
            )
        others = max(1, self._telling - 1)
        share = self._strategy.noise * self._strategy.clip / math.sqrt(others)
        change = np.zeros(len(anchor))
        change[:size] = self._change()[:size] + share * secret_normals(size)
        return change, np.ones(1)

    @property
    def epsilon(self) -> float | None:
        """See `Running.epsilon`."""
        noise, delta = self._strategy.noise, self._strategy.delta
        if not self._strategy.private or delta is None:
            return None
        if not self.memory["rounds"][0]:
            raise ParameterError(
                f"FedAvg(every={self._strategy.every}): no round has ended in {self.replica.step} steps, so "
                "nothing was learned. With noise only whole rounds count; take fewer steps, or more epochs."
            )
        return gaussian_epsilon(noise, int(self.memory["told"].max()), delta)

    def _robust(self, rule: Merge, mine: float) -> np.ndarray | None:
        """What the rule makes of the changes of those that take part, whose `mine` is not 0."""
        change = self._change()[self._shared] if mine else None
        state = proposals(change, mine, int(self._shared.sum()), rule)
        merged: Proposals = self._run.call(lambda: self._run.combine(state)).settled()
        return self._whole(merged.rows[0][:-1]) if merged.rows else None

    def _takes_part(self) -> bool:
        """Whether this rank is one of those that tell in this round; all choose the same."""
        if self._strategy.share == 1 and not self._strategy.private:
            return True
        rank, with_rows = self._run.comm.rank, self.memory["with_rows"]
        if not with_rows.all():  # 1 where there are rows, -1 where none are; who was late is asked again
            mine = np.zeros_like(with_rows)
            mine[rank] = 0.0 if with_rows[rank] else 1.0 if self.row_count else -1.0
            with_rows += self._run.call(lambda: self._run.combine(mine))
        there = np.flatnonzero(with_rows > 0)
        random = np.random.default_rng([self._seed, int(self.memory["rounds"][0])])
        chosen = random.permutation(there)[: math.ceil(self._strategy.share * len(there) - 1e-9)]
        self._telling = len(chosen)
        self.memory["told"][chosen] += 1
        return rank in chosen

    def _gone_on(self, change: np.ndarray) -> np.ndarray:
        """By how much all go on."""
        lr = self._strategy.server_lr
        if self._strategy.server == "mean":
            return change * np.float32(lr)
        first, second = self.memory["first"], self.memory["second"]
        first += (1 - _FIRST) * (change - first)
        second += (1 - _SECOND) * (change.astype(np.float64) ** 2 - second)
        steps = int(self.memory["rounds"][0]) + 1
        step = (first / (1 - _FIRST**steps)) / (np.sqrt(second / (1 - _SECOND**steps)) + 1e-3 * lr + 1e-12)
        size = len(self.replica.parameters)
        return np.concatenate([lr * step[:size], change[size:]]).astype(np.float32)  # buffers: their mean


def is_personal(name: str, personal: Sequence[str]) -> bool:
    """Whether a parameter or buffer belongs to one of some layers.

    Parameters
    ----------
    name : of the parameter or buffer.
    personal : names of layers.
    """
    return any(name == layer or name.startswith(f"{layer}.") for layer in personal)


def personal_numbers(replica: Replica, personal: Sequence[str]) -> np.ndarray:
    """Which numbers of a replica belong to some layers, as `Replica.numbers` orders them.

    Parameters
    ----------
    replica : of this rank.
    personal : names of layers.

    Raises
    ------
    ParameterError
        When a layer has nothing that learns, or nothing is left to share.
    """
    names = [name for group in replica.names for name in group]
    sizes = [math.prod(shape) for shape in replica.shapes]
    buffers = {n: b for n, b in replica.module.named_buffers() if b.dtype.is_floating_point}
    every = [*names, *buffers]
    unknown = [layer for layer in personal if not any(is_personal(name, [layer]) for name in names)]
    owned = np.array([is_personal(name, personal) for name in every], dtype=bool)
    if unknown or owned[: len(names)].all():
        what = f"{unknown} have no parameter that learns" if unknown else "nothing is left to learn together"
        raise ParameterError(f"FedAvg(personal={list(personal)}): {what}. The parameters are {names[:20]}.")
    return np.repeat(owned, [*sizes, *(buffer.numel() for buffer in buffers.values())])
