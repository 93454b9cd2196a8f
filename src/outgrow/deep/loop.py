"""Steps of a training: a batch forward and back, gradients over the ranks, the optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.deep.keras_modules import answer_of, penalty_of
from outgrow.deep.minibatches import Batch
from outgrow.deep.replica import Replica
from outgrow.deep.schedule import Schedule
from outgrow.deep.strategies.parted import Parted
from outgrow.deep.strategies.strategy import Running
from outgrow.errors import DataError

torch = optional("torch", "torch")

Combine = Callable[[Any], Any]
"""Adds up arrays over all ranks."""
Losses = Callable[[Any, Any], Any]
"""The loss of each row, of what the module gave and of the targets."""
_STRIDE = 0x9E3779B1
_WAIT_STEPS = 16
"""So often a GPU is waited for, to see whether its losses are numbers still."""


@dataclass(frozen=True)
class Rules:
    """How a training goes.

    Attributes
    ----------
    lr, schedule : the learning rate, and by what it is multiplied at each step.
    clip : the largest norm of a gradient that is left as it is; None for all.
    parts : into how many parts a batch is cut, whose gradients add up: the memory is that of a part.
    bfloat16 : whether the module computes in bfloat16 where that is safe (autocast).
    seed : of what is random within the module, such as dropout; each step and rank has its own.
    """

    lr: float
    schedule: Schedule = field(default_factory=Schedule)
    clip: float | None = None
    parts: int = 1
    bfloat16: bool = False
    seed: int = 0


class Trainer:
    """Takes steps with a replica.

    Parameters
    ----------
    replica : what learns.
    losses : the loss of each row.
    rules : how.
    steps : how many steps the whole training will have, for the schedule.
    running : what the ranks merge, with whom and when; None where this is the only one.
    combine : adds up arrays over all ranks; None where this is the only one.
    rank : the number of this one.
    """

    def __init__(
        self,
        replica: Replica,
        losses: Losses,
        rules: Rules,
        steps: int,
        running: Running | None = None,
        combine: Combine | None = None,
        rank: int = 0,
    ) -> None:
        self.replica, self._losses, self._rules, self._steps = replica, losses, rules, steps
        self._running, self._combine, self._rank = running, combine, rank
        norms = (torch.nn.modules.batchnorm._NormBase,)  # all of them derive from this
        self._norms = [layer for layer in replica.module.modules() if isinstance(layer, norms)]
        self._on_cpu = replica.device.type == "cpu"

    def step(self, batch: Batch) -> tuple[Any, float]:
        """One step: the sum of the weighted losses, and of the weights.

        The sum may be a tensor on a GPU, which then need not be waited for.

        Parameters
        ----------
        batch : tensors; of a rank that has no row in this step, of none.

        Raises
        ------
        DataError
            When the loss is no number; it names the step and the layer.
        """
        replica = self.replica
        self._seed()
        replica.zero()
        loss = self._learned(batch)
        mine = _weight(batch)
        loss, weight = self._merged(loss, mine, len(batch[0]))
        if weight:
            self._move(loss, weight, batch)
        elif self._running is not None and not self._running.together:
            replica.step += 1  # without rows; the other ranks have some
        if self._running is not None:
            self._running.merge(mine)
        return (loss, weight) if weight else (0.0, 0.0)

    def _learned(self, batch: Batch) -> Any:
        """Forward and back: the sum of the losses; of a rank that holds a part, as its strategy says."""
        if isinstance(self._running, Parted):
            return self._running.learn(batch, self)
        return self.there_and_back(batch)

    def there_and_back(self, batch: Batch) -> Any:
        """Forward and back over a batch, in as many parts as the rules say; the sum of the losses.

        Parameters
        ----------
        batch : tensors.
        """
        loss: Any = 0.0
        alone = _weight(batch) if self._running is None else 0.0
        for part in _parts(batch, self._rules.parts):
            if len(part[0]):
                with self.single_row(len(part[0])):
                    summed = self._loss(part, self.replica.module)
                # the gradient of the mean; of several ranks that of the sum, which they divide together
                summed.backward(torch.full_like(summed, 1 / alone) if alone else None)
                loss = loss + summed.detach()
        return loss

    @property
    def parts(self) -> int:
        """Into how many parts a batch is cut."""
        return self._rules.parts

    def _move(self, loss: Any, weight: float, batch: Batch) -> None:
        """The step itself."""
        replica, rules = self.replica, self._rules
        known = not torch.is_tensor(loss) or replica.step % _WAIT_STEPS == 0
        if known and not math.isfinite(float(loss)):
            raise self._no_number(batch)
        if rules.clip is not None:
            replica.clip(rules.clip)
        lr = rules.lr * rules.schedule.factor(replica.step, self._steps)
        if self._running is None:
            replica.advance(lr)
        else:
            self._running.move(lr)

    def _seed(self) -> None:
        rank = 0 if self._running is not None and self._running.alike else self._rank
        number = (self._rules.seed * _STRIDE + self.replica.step * 4099 + rank) % (1 << 63)
        torch.default_generator.manual_seed(number)
        if not self._on_cpu:
            torch.cuda.manual_seed(number)

    def _merged(self, loss: Any, weight: float, rows: int) -> tuple[Any, float]:
        """Losses and weights of the rows that the gradient is about, which now is that of their mean."""
        if self._running is None:
            return float(loss) if self._on_cpu else loss, weight
        sums = self._running.gradients(np.array([float(loss), weight, rows], dtype=np.float64))
        return float(sums[0]), float(sums[1])

    def mean_loss(self, batches: Iterable[Batch]) -> float:
        """The mean loss of rows from which nothing is learned; NaN without any.

        Parameters
        ----------
        batches : tensors.
        """
        sums = np.zeros(2)
        module = self.replica.answering
        with evaluating(module):
            for batch in batches:
                sums += float(self._loss(batch, module)), _weight(batch)
        loss, weight = sums if self._combine is None else self._combine(sums)
        return float(loss / weight) if weight else math.nan

    def _loss(self, batch: Batch, module: Any) -> Any:
        """The sum of the weighted losses of some rows."""
        inputs, targets, weights = batch
        with self.precision():
            answers = answer_of(module, inputs)
        loss, penalty = self.weighted(answers, targets, weights), penalty_of(module)
        return loss if isinstance(penalty, float | int) else loss + penalty * _weight(batch)

    def weighted(self, answers: Any, targets: Any, weights: Any) -> Any:
        """The sum of the weighted losses of some rows.

        Parameters
        ----------
        answers : what the module gave.
        targets, weights : of the rows; None where each weighs one.
        """
        with self.precision():
            losses = self._losses(answers, targets)
        losses = losses.float()
        return losses.sum() if weights is None else torch.dot(losses, weights)

    def precision(self) -> AbstractContextManager[Any]:
        """In which numbers the module computes within the block."""
        if not self._rules.bfloat16:
            return nullcontext()
        context: AbstractContextManager[Any] = torch.autocast(self.replica.device.type, dtype=torch.bfloat16)
        return context

    @contextmanager
    def single_row(self, rows: int) -> Iterator[None]:
        """Layers that normalise over a batch cannot do so over one row: they take what they know by now.

        Parameters
        ----------
        rows : how many come within the block.
        """
        alone = [layer for layer in self._norms if layer.training] if rows == 1 else []
        for layer in alone:
            layer.eval()
        try:
            yield
        finally:
            for layer in alone:
                layer.train()

    def _no_number(self, batch: Batch) -> DataError:
        if isinstance(self._running, Parted):
            where = "which layer was first is not known where ranks hold parts"
        else:
            layer = first_not_finite(self.replica.module, batch[0])
            where = f"the first layer to give such values is {layer}" if layer else "all layers gave numbers"
        return DataError(
            f"The loss is no number at step {self.replica.step} of {self._steps}, of a batch of "
            f"{len(batch[0])} rows; {where}. Look at the targets and the loss, take a smaller lr, or clip "
            "gradients (gradient_clip=1.0)."
        )


def first_not_finite(module: Any, inputs: Any) -> str | None:
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
            answer_of(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[0] if seen else None


def begin_training(module: Any) -> None:
    """Dropout and the like on, but not where a layer is frozen that keeps statistics of batches.

    `requires_grad` does not keep such a layer from learning its mean and variance anew, so a frozen network
    would no longer be the one that was pretrained.

    Parameters
    ----------
    module : of `torch.nn`.
    """
    module.train()
    for layer in module.modules():
        parameters = list(layer.parameters(recurse=False))
        frozen = parameters and not any(one.requires_grad for one in parameters)
        if frozen and hasattr(layer, "running_mean"):
            layer.eval()


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
    return float(len(batch[0]) if batch[2] is None else batch[2].sum(dtype=torch.float64))


def _parts(batch: Batch, parts: int) -> Iterator[Batch]:
    """A batch in about equal parts."""
    if parts == 1:
        yield batch
        return
    inputs, targets, weights = batch
    rows = len(inputs)
    for part in range(min(parts, rows)):
        cut = slice(part * rows // min(parts, rows), (part + 1) * rows // min(parts, rows))
        yield inputs[cut], targets[cut], None if weights is None else weights[cut]
