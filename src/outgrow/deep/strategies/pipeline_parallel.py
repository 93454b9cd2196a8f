"""Each rank holds some of the layers, and rows go through the ranks in small batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from outgrow._settings import is_whole
from outgrow.deep.strategies.parted import Parted, check_parts
from outgrow.deep.strategies.strategy import Running, Strategy, Totals
from outgrow.engine.context import FitContext
from outgrow.engine.links import Links
from outgrow.errors import ParameterError

if TYPE_CHECKING:
    from outgrow.deep.loop import Trainer
    from outgrow.deep.replica import Replica

_INPUTS, _TARGETS, _ON, _BACK, _ARRAYS = range(10, 15)
Batch = tuple[Any, Any, Any]


@dataclass(frozen=True)
class PipelineParallel(Strategy):
    """Each rank holds some of the layers with their optimizer; the rows of a step go through the ranks in
    small batches, one rank working on one while the next has the one before (GPipe, Huang et al. 2019; in
    the order of PipeDream, Narayanan et al. 2019, which keeps few of them waiting).

    The network is a `torch.nn.Sequential`, or has a method `stages` that gives the modules it calls one after
    the other. Rows of the step are sent to the rank of the first layers, targets to that of the last.

    Parameters
    ----------
    stages : how many of those modules each rank takes, in their order; None for about as many numbers each.
    microbatches : into how many small batches a step is cut. Layers that look at the rows of a batch
        together, such as BatchNorm, see a small one.

    Raises
    ------
    ParameterError
        When a number does not fit.

    Examples
    --------
    >>> import outgrow as og
    >>> og.PipelineParallel(microbatches=8)
    PipelineParallel(stages=None, microbatches=8)
    """

    stages: tuple[int, ...] | None = None
    microbatches: int = 4

    def __post_init__(self) -> None:
        if self.stages is not None:
            whole = isinstance(self.stages, Sequence) and all(map(is_whole, self.stages))
            object.__setattr__(self, "stages", tuple(self.stages) if whole else self.stages)
            if not whole:
                raise ParameterError(
                    f"PipelineParallel(stages={self.stages}): how many modules each rank takes."
                )
        if not is_whole(self.microbatches):
            raise ParameterError(f"PipelineParallel(microbatches={self.microbatches!r}): from 1.")

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """See `Strategy.start`.

        Parameters
        ----------
        run, replica, links, seed : as there.

        Raises
        ------
        ParameterError
            When the network cannot be cut into as many stages as there are ranks.
        """
        assert links is not None
        check_parts(replica, "PipelineParallel")
        return _Running(self, replica, links)

    def cut(self, pieces: list[Any], ranks: int) -> list[list[Any]]:
        """The modules of each rank.

        Parameters
        ----------
        pieces : all modules, in their order.
        ranks : how many.
        """
        if self.stages is not None:
            if len(self.stages) != ranks or sum(self.stages) != len(pieces):
                raise ParameterError(
                    f"PipelineParallel(stages={self.stages}): there are {ranks} ranks and {len(pieces)} "
                    "modules. Give one number for each rank, which add up to the modules."
                )
            edges = [0, *accumulate(self.stages)]
        elif len(pieces) < ranks:
            raise ParameterError(
                f"PipelineParallel: {len(pieces)} modules do not make {ranks} stages. Use fewer ranks."
            )
        else:
            edges = _balanced([sum(p.numel() for p in piece.parameters()) for piece in pieces], ranks)
        return [pieces[start:end] for start, end in pairwise(edges)]


def _balanced(sizes: list[int], ranks: int) -> list[int]:
    """Where stages begin and end, so that the largest is as small as can be.

    Examples
    --------
    >>> _balanced([10, 0, 10, 0, 20], 2)
    [0, 3, 5]
    """
    best: dict[tuple[int, int], tuple[int, list[int]]] = {(0, 0): (0, [0])}
    for stage in range(1, ranks + 1):
        for end in range(stage, len(sizes) - (ranks - stage) + 1):
            best[stage, end] = min(
                (max(best[stage - 1, start][0], sum(sizes[start:end])), [*best[stage - 1, start][1], end])
                for start in range(stage - 1, end)
                if (stage - 1, start) in best
            )
    return best[ranks, len(sizes)][1]


def pieces_of(module: Any) -> list[Any]:
    """The modules that a network calls one after the other.

    Parameters
    ----------
    module : of `torch.nn`.

    Raises
    ------
    ParameterError
        When it does not say so.
    """
    if hasattr(module, "stages"):
        return list(module.stages())
    if type(module).__name__ != "Sequential":
        raise ParameterError(
            f"PipelineParallel: {type(module).__name__} is no torch.nn.Sequential, and has no method stages "
            "that gives the modules it calls one after the other. Give it one, or take og.FSDP()."
        )
    return list(module)


class _Running(Parted):
    def __init__(self, strategy: PipelineParallel, whole: Replica, links: Links) -> None:
        from outgrow.deep.part import Part, torch  # needs torch itself when it is imported

        self._torch = torch
        stages = strategy.cut(pieces_of(whole.module), links.size)
        names = {id(value): name for name, value in whole.named().items()}
        modules = [torch.nn.Sequential(*stage) for stage in stages]
        self._owned = [[names[id(value)] for value in _held(module)] for module in modules]
        _check_owned(self._owned, names.values())
        module = copy.deepcopy(modules[links.rank])
        self._held = dict(zip(self._owned[links.rank], _held(module), strict=True))
        learning = {name: value for name, value in self._held.items() if value.requires_grad}
        part = Part(module, whole, learning, frozenset(learning), lambda array: Totals(links, array).get())
        super().__init__(part, whole, links)
        self._microbatches = strategy.microbatches
        self.first, self.last = links.rank == 0, links.rank == links.size - 1
        self._sums = np.zeros(3)

    # ---- a step ------------------------------------------------------------------------------------------

    def learn(self, batch: Any, trainer: Trainer) -> Any:
        rows = np.zeros(self.links.size)
        rows[self.links.rank] = len(batch[0])
        rows = Totals(self.links, rows).get()
        self._sums = np.zeros(3)
        count = min(self._microbatches, int(rows.sum()))
        if not count:
            return 0.0
        self._tell_rows(batch)
        edges = [int(rows.sum()) * number // count for number in range(count + 1)]
        step = _Step(self, trainer, list(pairwise(edges)), batch)
        for number, ahead in self._order(count):
            if ahead:
                step.ahead(number)
            else:
                step.back(number)
        if self.last:
            self._sums[:] = float(step.loss), step.weight, rows.sum()
        return step.loss

    def _order(self, count: int) -> Iterator[tuple[int, bool]]:
        """Which small batch goes ahead or back: as few as can be wait for their way back."""
        early = min(count, self.links.size - 1 - self.links.rank)
        for number in range(early):
            yield number, True
        for number in range(early, count):
            yield number, True
            yield number - early, False
        for number in range(count - early, count):
            yield number, False

    def _tell_rows(self, batch: Any) -> None:
        inputs, targets, _ = batch
        if not self.first:
            self.links.send(0, inputs.contiguous().numpy(), channel=_INPUTS)
        if not self.last:
            arrays = targets.contiguous().numpy(), ones(batch).contiguous().numpy()
            self.links.send(self.links.size - 1, *arrays, channel=_TARGETS)

    def rows(self, channel: int, mine: tuple[Any, ...]) -> tuple[Any, ...]:
        """What all ranks have of the rows of a step, one behind the other.

        Parameters
        ----------
        channel : on which the others have sent it.
        mine : of this rank.
        """
        from_numpy, links = self._torch.from_numpy, self.links
        all_of = [
            mine if rank == links.rank else tuple(map(from_numpy, links.receive(rank, channel).arrays))
            for rank in range(links.size)
        ]
        return tuple(self._torch.cat(parts) for parts in zip(*all_of, strict=True))

    def gradients(self, sums: np.ndarray) -> np.ndarray:
        return super().gradients(self._sums)

    # ---- the whole ---------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        links, mine = self.links, [value.detach().numpy() for value in self._held.values()]
        for rank in range(links.size):
            if rank != links.rank:
                links.send(rank, *mine, channel=_ARRAYS)
        whole: dict[str, np.ndarray] = {}
        for rank, names in enumerate(self._owned):
            arrays = mine if rank == links.rank else links.receive(rank, _ARRAYS).arrays
            whole |= dict(zip(names, arrays, strict=True))
        return whole


class _Step:
    """The small batches of a step at one stage.

    Attributes
    ----------
    loss, weight : sums over the rows, at the last stage.
    """

    def __init__(
        self, running: _Running, trainer: Trainer, edges: list[tuple[int, int]], batch: Batch
    ) -> None:
        from outgrow.deep.part import torch

        self.loss: Any = 0.0
        self.weight = 0.0
        self._torch, self._links, self._trainer, self._edges = torch, running.links, trainer, edges
        self._module, self._first, self._last = running.part.module, running.first, running.last
        self._waiting: dict[int, tuple[Any, Any]] = {}
        if self._first:
            [self._inputs] = running.rows(_INPUTS, (batch[0],))
        if self._last:
            self._targets, self._weights = running.rows(_TARGETS, (batch[1], ones(batch)))
            self.weight = float(self._weights.sum(dtype=torch.float64))

    def ahead(self, number: int) -> None:
        """Take a small batch through this stage.

        Parameters
        ----------
        number : which.
        """
        links, rows = self._links, slice(*self._edges[number])
        if self._first:
            given = self._inputs[rows]
        else:
            arrived = links.receive(links.rank - 1, _ON).arrays[0]
            given = self._torch.from_numpy(arrived).requires_grad_()
        with self._trainer.single_row(len(given)), self._trainer.precision():
            output = self._module(given)
        if self._last:
            output = self._trainer.weighted(output, self._targets[rows], self._weights[rows])
            self.loss = self.loss + output.detach()
        else:
            if not self._torch.is_tensor(output):
                raise ParameterError(
                    f"PipelineParallel: between stages goes a tensor, not a {type(output).__name__}."
                )
            output = output.float()
            links.send(links.rank + 1, output.detach().contiguous().numpy(), channel=_ON)
        self._waiting[number] = given, output

    def back(self, number: int) -> None:
        """Take the gradient of a small batch back through this stage.

        Parameters
        ----------
        number : which.
        """
        links = self._links
        given, output = self._waiting.pop(number)
        if self._last:
            output.backward()
        else:
            arrived = self._torch.from_numpy(links.receive(links.rank + 1, _BACK).arrays[0])
            if output.requires_grad:
                output.backward(arrived)
        if not self._first:
            gradient = self._torch.zeros_like(given) if given.grad is None else given.grad
            links.send(links.rank - 1, gradient.contiguous().numpy(), channel=_BACK)


def ones(batch: Batch) -> Any:
    """The weights of the rows of a batch.

    Parameters
    ----------
    batch : inputs, targets, and weights or None.
    """
    return batch[1].new_ones(len(batch[0]), dtype=batch[0].dtype) if batch[2] is None else batch[2]


def _held(module: Any) -> list[Any]:
    """Parameters and buffers of a module, each once."""
    return [*module.parameters(), *module.buffers()]


def _check_owned(owned: list[list[str]], names: Any) -> None:
    for name in names:
        count = sum(names.count(name) for names in owned)
        if count > 1:
            raise ParameterError(
                f"PipelineParallel: {name} is used by several of the modules. Take og.FSDP()."
            )
        if not count:
            raise ParameterError(f"PipelineParallel: {name} is in none of the modules that stages() gives.")
