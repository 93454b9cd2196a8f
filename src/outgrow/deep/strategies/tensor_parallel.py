"""Each rank keeps some columns or rows of the large matrices, and computes all rows of the data with them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from outgrow.deep.strategies.parted import Parted, check_parts, is_tied
from outgrow.deep.strategies.strategy import Running, Strategy, Totals
from outgrow.engine.context import FitContext
from outgrow.engine.links import Links
from outgrow.errors import ParameterError

if TYPE_CHECKING:
    from outgrow.deep.loop import Trainer
    from outgrow.deep.replica import Replica

_CHANNEL = 15
_ONE_NUMBER = """
    CELU Dropout ELU GELU Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid Mish ReLU ReLU6 SELU
    SiLU Sigmoid Softplus Softsign Tanh
"""
_BETWEEN = frozenset(_ONE_NUMBER.split())
"""Layers that look at one number at a time, so that each rank may take its own."""
_WAYS = {"column": "out_features", "row": "in_features"}


@dataclass(frozen=True)
class TensorParallel(Strategy):
    """Each rank keeps some outputs of one full layer and the same inputs of the next, so that two layers
    need one sum over the ranks (Megatron-LM, Shoeybi et al. 2019; torch's `parallelize_module`). All ranks
    compute all rows of a step, which they tell each other.

    What torch says between ranks goes over the connections of the fit; it opens no port. Ranks must be
    processes of their own, on CPUs, and the optimizer one of single numbers, such as AdamW.

    Parameters
    ----------
    plan : of full layers (`torch.nn.Linear`) by name: 'column' where each rank keeps some of the outputs, and
        'row' for the next one, of which it keeps the same inputs; None for all pairs in the network that
        follow one another with nothing between but what looks at one number at a time.

    Raises
    ------
    ParameterError
        When the plan says something else.

    Examples
    --------
    >>> import outgrow as og
    >>> og.TensorParallel({"0": "column", "2": "row"})
    TensorParallel(plan={'0': 'column', '2': 'row'})
    """

    needs_processes = True
    plan: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.plan is not None:
            if not isinstance(self.plan, Mapping):
                raise ParameterError(
                    f"TensorParallel(plan={self.plan!r}): a mapping of 'column' or 'row' by names."
                )
            object.__setattr__(self, "plan", dict(self.plan))
            wrong = {name: way for name, way in dict(self.plan).items() if way not in _WAYS}
            if wrong or not self.plan:
                raise ParameterError(
                    f"TensorParallel(plan={wrong or self.plan}): 'column' or 'row' by names."
                )

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """See `Strategy.start`.

        Parameters
        ----------
        run, replica, links, seed : as there.

        Raises
        ------
        ParameterError
            When the plan does not fit the network, or the optimizer looks at whole matrices.
        """
        assert links is not None
        check_parts(replica, "TensorParallel")
        replica.check_by_element()
        with ExitStack() as stack:
            running = _Running(self, replica, links, stack)
            running.leaving = stack.pop_all()
        return running

    def ways(self, module: Any, ranks: int) -> dict[str, str]:
        """How each layer is divided.

        Parameters
        ----------
        module : the network.
        ranks : among how many.

        Raises
        ------
        ParameterError
            When a layer is not there, is no full layer, or cannot be divided evenly.
        """
        named = dict(module.named_modules())
        ways = dict(self.plan) if self.plan is not None else _pairs(module, ranks)
        if not ways:
            raise ParameterError(
                f"TensorParallel: no two full layers follow one another whose sizes {ranks} ranks divide. "
                "Give a plan, or take og.FSDP()."
            )
        for name, way in ways.items():
            layer = named.get(name)
            if type(layer).__name__ != "Linear":
                known = [name for name, one in named.items() if type(one).__name__ == "Linear"]
                raise ParameterError(f"TensorParallel(plan={{{name!r}: ...}}): full layers are {known[:20]}.")
            if is_tied(module, layer):
                raise ParameterError(
                    f"TensorParallel(plan={{{name!r}: ...}}): another layer has the same weights. Leave both "
                    "out, or take og.FSDP()."
                )
            size = getattr(layer, _WAYS[way])
            if size % ranks:
                raise ParameterError(
                    f"TensorParallel: {name} has {_WAYS[way]}={size}, which {ranks} ranks do not divide."
                )
        _check_pairs(module, ways)
        return ways


def _check_pairs(module: Any, ways: Mapping[str, str]) -> None:
    """Raise where a layer by column is not followed by one by row, as far as their order is known."""
    names = {id(part): name for name, part in module.named_modules()}
    before = ""
    for layer in _chain(module):
        within = [names.get(id(part), "") for part in layer.modules()]
        name = next((one for one in within if one in ways), "")
        if name and layer is not module and len(within) == 1:
            if (ways[name] == "row") == (not before):
                break
            before = name if ways[name] == "column" else ""
        elif name:
            return  # what it calls first only it knows
        elif before and type(layer).__name__ not in _BETWEEN:
            break
    else:
        if not before:
            return
    raise ParameterError(
        f"TensorParallel(plan={dict(ways)}): a layer by 'column' is followed by one by 'row', with nothing "
        f"between but layers of single numbers such as ReLU. {name or before!r} is not in such a pair."
    )


def _pairs(module: Any, ranks: int) -> dict[str, str]:
    """Full layers of which one follows the other, as column and row."""
    names = {id(part): name for name, part in module.named_modules()}
    ways: dict[str, str] = {}
    before: Any = None
    chain = _chain(module)
    calls = Counter(map(id, chain))
    for layer in chain:
        kind = type(layer).__name__
        if kind == "Linear" and calls[id(layer)] == 1 and not is_tied(module, layer):
            if before is not None and before.out_features % ranks == 0:
                ways |= {names[id(before)]: "column", names[id(layer)]: "row"}
                before = None
            else:
                before = layer
        elif kind not in _BETWEEN:
            before = None
    return ways


def _chain(module: Any) -> list[Any]:
    """What a network calls one after the other, as far as it is known."""
    if hasattr(module, "stages"):
        return [layer for part in module.stages() for layer in _chain(part)]
    if type(module).__name__ == "Sequential":
        return [layer for part in module for layer in _chain(part)]
    return [module]


class _Running(Parted):
    alike = True

    def __init__(self, strategy: TensorParallel, whole: Replica, links: Links, stack: ExitStack) -> None:
        import torch
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

        from outgrow.deep.part import Part
        from outgrow.deep.process_group import process_group  # needs torch itself when it is imported

        self.leaving, self._torch = stack, torch
        ways = strategy.ways(whole.module, links.size)
        mesh = stack.enter_context(process_group(links))
        module = copy.deepcopy(whole.module)
        kinds = {"column": ColwiseParallel, "row": RowwiseParallel}
        plan = {name: kinds[way]() for name, way in ways.items()}
        parallelize_module(module, mesh, plan, src_data_rank=None)
        learning = {name: value for name, value in module.named_parameters() if value.requires_grad}
        divided = {name for name, value in learning.items() if _is_divided(value)}
        counted = frozenset(learning if links.rank == 0 else divided)
        part = Part(module, whole, learning, counted, lambda array: Totals(links, array).get())
        super().__init__(part, whole, links)
        self._sums = np.zeros(3)

    def learn(self, batch: Any, trainer: Trainer) -> Any:
        batch = self._all_rows(batch)
        loss = trainer.there_and_back(batch)
        self._sums = np.array([float(loss), float(batch[2].sum(dtype=self._torch.float64)), len(batch[0])])
        return loss

    def _all_rows(self, batch: Any) -> Any:
        """The rows of all ranks, one behind the other."""
        inputs, targets, weights = batch
        weights = inputs.new_ones(len(inputs)) if weights is None else weights
        mine = [value.contiguous().numpy() for value in (inputs, targets, weights)]
        links = self.links
        for rank in range(links.size):
            if rank != links.rank:
                links.send(rank, *mine, channel=_CHANNEL)
        every = [
            mine if rank == links.rank else links.receive(rank, _CHANNEL).arrays for rank in range(links.size)
        ]
        return tuple(self._torch.from_numpy(np.concatenate(parts)) for parts in zip(*every, strict=True))

    def _totals(self, sums: np.ndarray) -> np.ndarray:
        return self._sums

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = {}
        for name, value in {**self.part.sources, **dict(self.part.module.named_buffers())}.items():
            whole = value.full_tensor() if hasattr(value, "full_tensor") else value
            arrays[name] = self._first(whole.detach().numpy())
        return arrays

    def _first(self, array: np.ndarray) -> np.ndarray:
        """What rank 0 has: others may have rounded otherwise."""
        links = self.links
        if links.rank:
            first: np.ndarray = links.receive(0, _CHANNEL).arrays[0]
            return first
        for rank in range(1, links.size):
            links.send(rank, array, channel=_CHANNEL)
        return array

    def close(self) -> None:
        self.leaving.close()


def _is_divided(value: Any) -> bool:
    return any(placement.is_shard() for placement in getattr(value, "placements", ()))
