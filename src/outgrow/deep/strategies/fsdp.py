"""Each rank keeps a part of every parameter, and all of it only while it computes with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
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


@dataclass(frozen=True)
class FSDP(Strategy):
    """Fully sharded data parallel: each rank keeps a part of the parameters, of their gradients and of the
    optimizer, and has all of a unit of layers only while it computes with it (ZeRO's third stage,
    Rajbhandari et al. 2020; torch's `fully_shard`). What is learned is what one process learns, but for
    rounding.

    What torch says between ranks goes over the connections of the fit; it opens no port. Ranks must be
    processes of their own, on CPUs, and the optimizer one of single numbers, such as AdamW.

    Parameters
    ----------
    units : patterns of names of submodules whose parameters are brought together at a time; None for each
        part of a `torch.nn.Sequential` or `ModuleList`. What has a parameter in common with another part
        comes together with the unit that both are in.

    Examples
    --------
    >>> import outgrow as og
    >>> og.FSDP(units=("encoder.layers.*",))
    FSDP(units=('encoder.layers.*',))
    """

    needs_processes = True
    units: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.units is not None:
            units = (self.units,) if isinstance(self.units, str) else self.units
            if not isinstance(units, Sequence) or not all(isinstance(unit, str) and unit for unit in units):
                raise ParameterError(f"FSDP(units={units!r}): a list of patterns of names of submodules.")
            units = tuple(units)
            object.__setattr__(self, "units", units)

    def start(self, run: FitContext, replica: Replica, links: Links | None, seed: int) -> Running:
        """See `Strategy.start`.

        Parameters
        ----------
        run, replica, links, seed : as there.

        Raises
        ------
        ParameterError
            When the optimizer looks at whole matrices, or `units` names no submodule.
        """
        assert links is not None
        check_parts(replica, "FSDP")
        replica.check_by_element()
        with ExitStack() as stack:
            running = _Running(self, replica, links, stack)
            running.leaving = stack.pop_all()
        return running

    def modules(self, module: Any) -> Iterator[Any]:
        """The units of a network, the inner ones first.

        Parameters
        ----------
        module : of `torch.nn`.
        """
        named = [(name, part) for name, part in module.named_modules() if name and _learns(part)]
        if self.units is None:
            lists = ("Sequential", "ModuleList")
            inside = {id(part) for one in module.modules() if type(one).__name__ in lists for part in one}
            units = [part for _, part in named if id(part) in inside and type(part).__name__ != "ModuleList"]
        else:
            for pattern in self.units:
                if not any(fnmatchcase(name, pattern) for name, _ in named):
                    known = [name for name, _ in named][:20]
                    raise ParameterError(f"FSDP(units={pattern!r}): no submodule that learns, of {known}.")
            units = [part for name, part in named if any(fnmatchcase(name, one) for one in self.units)]
        yield from (unit for unit in reversed(units) if not is_tied(module, unit))


def _learns(module: Any) -> bool:
    return any(value.requires_grad for value in module.parameters())


class _Running(Parted):
    def __init__(self, strategy: FSDP, whole: Replica, links: Links, stack: ExitStack) -> None:
        from torch.distributed.fsdp import fully_shard

        from outgrow.deep.part import Part
        from outgrow.deep.process_group import process_group  # needs torch itself when it is imported

        self.leaving = stack
        mesh = stack.enter_context(process_group(links))
        module = copy.deepcopy(whole.module)
        frozen = {value for value in module.parameters() if not value.requires_grad}
        for unit in (*strategy.modules(module), module):
            fully_shard(unit, mesh=mesh, ignored_params=frozen & set(unit.parameters()))
            unit.set_gradient_divide_factor(1.0)
            unit.set_force_sum_reduction_for_comms(True)  # of rows, which ranks have more or fewer of
        learning = {name: value for name, value in module.named_parameters() if value.requires_grad}
        part = Part(module, whole, learning, frozenset(learning), lambda array: Totals(links, array).get())
        super().__init__(part, whole, links)

    def learn(self, batch: Any, trainer: Trainer) -> Any:
        return trainer.there_and_back(filled(batch, trainer.parts))

    def _totals(self, sums: np.ndarray) -> np.ndarray:
        buffers = self.replica.buffers
        mine = [buffer.detach().numpy().astype(np.float64).reshape(-1) * sums[2] for buffer in buffers]
        totals = super()._totals(np.concatenate([sums, *mine]))
        if totals[2]:
            self.replica.put_buffers(totals[3:] / totals[2])
        return totals[:3]

    def arrays(self) -> dict[str, np.ndarray]:
        whole = {name: value.full_tensor() for name, value in self.part.sources.items()}
        whole |= dict(self.part.module.named_buffers())
        return {name: value.detach().numpy() for name, value in whole.items()}

    def close(self) -> None:
        self.leaving.close()


def filled(batch: Any, least: int) -> Any:
    """A batch with rows that weigh nothing where it has fewer than a number: each rank takes part in each
    step.

    Parameters
    ----------
    batch : inputs, targets, and weights or None.
    least : how many rows there shall be.
    """
    inputs, targets, weights = batch
    missing = least - len(inputs)
    if missing <= 0:
        return batch
    weights = inputs.new_ones(len(inputs)) if weights is None else weights
    filled = []
    for value in (inputs, targets, weights):
        longer = value.new_zeros((least, *value.shape[1:]))
        longer[: len(value)] = value
        filled.append(longer)
    return tuple(filled)
