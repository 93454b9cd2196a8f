"""The loop of a training: steps over batches, and at the end of each epoch a look at rows held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.deep.replica import Replica
from outgrow.deep.schedule import Schedule
from outgrow.errors import DataError

torch = optional("torch", "torch")

Batch = tuple[Any, Any, Any]
"""Inputs, targets, and weights or None, as tensors of so many rows."""
Merge = Callable[[np.ndarray], np.ndarray]
Losses = Callable[[Any, Any], Any]
"""The loss of each row, of what the module gave and of the targets."""


@dataclass(frozen=True)
class Rules:
    """How a training goes.

    Attributes
    ----------
    lr, schedule : the learning rate, and by what it is multiplied at each step.
    clip : the largest norm of a gradient that is left as it is; None for all.
    parts : into how many parts a batch is cut, whose gradients add up: the memory is that of a part.
    bfloat16 : whether the module computes in bfloat16 where that is safe (autocast).
    """

    lr: float
    schedule: Schedule = field(default_factory=Schedule)
    clip: float | None = None
    parts: int = 1
    bfloat16: bool = False


class Trainer:
    """Takes steps with a replica.

    Parameters
    ----------
    replica : what learns.
    losses : the loss of each row.
    rules : how.
    steps : how many steps the whole training will have, for the schedule.
    merge : adds up arrays over all ranks.
    """

    def __init__(self, replica: Replica, losses: Losses, rules: Rules, steps: int, merge: Merge) -> None:
        self.replica, self._losses, self._rules, self._steps = replica, losses, rules, steps
        self._merge = merge

    def epoch(self, batches: Iterable[Batch]) -> float:
        """Learn from each batch in turn; the mean loss of the rows, each as it was before its step.

        Parameters
        ----------
        batches : tensors.

        Raises
        ------
        DataError
            When a loss is no number.
        """
        total, weight = 0.0, 0.0
        self.replica.module.train()
        for batch in batches:
            loss, weighed = self.step(batch)
            total, weight = total + loss, weight + weighed
        return total / weight if weight else math.nan

    def step(self, batch: Batch) -> tuple[float, float]:
        """One step: the sum of the weighted losses, and of the weights.

        Parameters
        ----------
        batch : tensors.

        Raises
        ------
        DataError
            When the loss is no number; it names the step and the layer.
        """
        replica, rules = self.replica, self._rules
        replica.zero()
        loss = 0.0
        for part in _parts(batch, rules.parts):
            if len(part[1]):
                summed = self._loss(part)
                summed.backward()
                loss += float(summed.detach())
        loss, weight = self._merged(loss, _weight(batch))
        if not weight:
            return 0.0, 0.0
        if not math.isfinite(loss):
            raise self._no_number(batch)
        if rules.clip is not None:
            replica.clip(rules.clip)
        replica.advance(rules.lr * rules.schedule.factor(replica.step, self._steps))
        return loss, weight

    def _merged(self, loss: float, weight: float) -> tuple[float, float]:
        """Losses and weights over all ranks; the gradient is then that of the mean loss."""
        gradient = self.replica.gradient
        own = np.concatenate([gradient.numpy().astype(np.float64), [loss, weight]])
        every = self._merge(own)
        gradient.copy_(torch.from_numpy(every[:-2]))
        loss, weight = float(every[-2]), float(every[-1])
        gradient.div_(weight or 1.0)
        return loss, weight

    def mean_loss(self, batches: Iterable[Batch]) -> float:
        """The mean loss of rows from which nothing is learned.

        Parameters
        ----------
        batches : tensors.
        """
        total, weight = 0.0, 0.0
        with evaluating(self.replica.module):
            for batch in batches:
                total += float(self._loss(batch))
                weight += _weight(batch)
        total, weight = self._merge(np.array([total, weight]))
        return float(total / weight) if weight else math.nan

    def _loss(self, batch: Batch) -> Any:
        """The sum of the weighted losses of some rows."""
        inputs, targets, weights = batch
        with self._precision():
            losses = self._losses(self.replica.module(inputs), targets)
        return losses.sum() if weights is None else torch.dot(losses, weights)

    def _precision(self) -> AbstractContextManager[Any]:
        if not self._rules.bfloat16:
            return nullcontext()
        return torch.autocast(self.replica.parameters.device.type, dtype=torch.bfloat16)

    def _no_number(self, batch: Batch) -> DataError:
        """Which layer first gave what is no number."""
        layer = first_no_number(self.replica.module, batch[0])
        where = f"the first layer to give such values is {layer}" if layer else "all layers gave numbers"
        return DataError(
            f"The loss is no number at step {self.replica.step} of {self._steps}; {where}. Look at the rows of that "
            "batch, take a smaller lr, or clip gradients (gradient_clip=1.0)."
        )


def first_no_number(module: Any, inputs: Any) -> str | None:
    """The first layer of a module whose output is not finite, by its name and kind; None where all are.

    Parameters
    ----------
    module : of `torch.nn`.
    inputs : what it is called with.
    """
    seen: list[str] = []

    def look(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(layer: Any, given: Any, output: Any) -> None:
            if torch.is_tensor(output) and not torch.isfinite(output).all():
                seen.append(f"{name or 'the module'} ({type(layer).__name__})")

        return hook

    hooks = [layer.register_forward_hook(look(name)) for name, layer in module.named_modules()]
    try:
        with torch.no_grad():
            module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[0] if seen else None


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Dropout and the like off, and no gradients, within the block."""
    before = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(before)


def _weight(batch: Batch) -> float:
    """What the rows of a batch weigh together."""
    return float(len(batch[1]) if batch[2] is None else batch[2].sum())


def _parts(batch: Batch, parts: int) -> Iterator[Batch]:
    """A batch in about equal parts."""
    if parts == 1:
        yield batch
        return
    inputs, targets, weights = batch
    rows = len(targets)
    for part in range(min(parts, rows)):
        cut = slice(part * rows // min(parts, rows), (part + 1) * rows // min(parts, rows))
        yield inputs[cut], targets[cut], None if weights is None else weights[cut]

