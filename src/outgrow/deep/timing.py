"""Where the time of an epoch went: reading, changing, or the loop that takes the batches."""

from __future__ import annotations

from dataclasses import dataclass

_IDLE = 0.05
"""A loop that waits a smaller part of its time than this is what decides how fast it goes."""


@dataclass
class Timing:
    """Seconds of the last epoch, or of what there was of it.

    Attributes
    ----------
    waiting : that the loop waited for batches.
    loop : that the loop took for everything else.
    reading, transforming : of all threads together.
    threads : how many.
    first_batch : until there was the first batch.
    rows : that were handed out.
    """

    threads: int
    waiting: float = 0.0
    loop: float = 0.0
    reading: float = 0.0
    transforming: float = 0.0
    first_batch: float = 0.0
    rows: int = 0

    @property
    def bottleneck(self) -> str:
        """What decides how fast it goes: 'loop', 'read' or 'transform'."""
        total = self.waiting + self.loop
        if not total or self.waiting / total < _IDLE:
            return "loop"
        return "read" if self.reading >= self.transforming else "transform"

    def __str__(self) -> str:
        total = self.waiting + self.loop
        if not total:
            return "nothing was read yet"
        names = {"loop": "the loop", "read": "reading", "transform": "the transform"}
        busy = total * self.threads
        return (
            f"{self.rows:,} rows in {total:.2f} s, {self.rows / total:,.0f} a second; "
            f"waited {self.waiting / total:.0%} of it; threads read {self.reading / busy:.0%} and "
            f"transformed {self.transforming / busy:.0%} of theirs; "
            f"the bottleneck is {names[self.bottleneck]}"
        )
