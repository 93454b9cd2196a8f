"""What several ranks propose, side by side until a rule makes one of them that liars cannot move far."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from outgrow.stats.robust import Krum, Mean, Median, Merge, TrimmedMean
from outgrow.stats.state import State

RULES: dict[str, Any] = {kind.__name__: kind for kind in (Mean, Median, TrimmedMean, Krum)}


@dataclass(frozen=True)
class Proposals(State):
    """Proposals of ranks, and the rule by which they become one.

    The first to merge says by which rule, and of which size they are: in a federation the coordinator.

    Attributes
    ----------
    rows : each of shape (size + 1,): what a rank proposes, and behind it what that counts.
    size : of each proposal.
    rule : the name of one of `RULES` and its parameters; empty where they have become one.
    """

    rows: tuple[np.ndarray, ...]
    size: int
    rule: dict[str, Any]

    def merge(self, other: Proposals) -> Proposals:
        return Proposals(self.rows + other.rows, self.size, self.rule)

    def settled(self) -> Proposals:
        """One proposal instead of all; none where no rank has any that can be."""
        if not self.rule:
            return self
        right = [row for row in self.rows if row.shape == (self.size + 1,)]
        right = [row for row in right if np.isfinite(row[-1]) and row[-1] > 0]
        if not right:
            return Proposals((), self.size, {})
        stack = np.stack(right)
        words = dict(self.rule)
        rule: Merge = RULES[words.pop("name")](**words)
        one = rule.merge(stack[:, :-1], stack[:, -1].astype(np.float64))
        return Proposals((np.append(one, stack[:, -1].sum()).astype(stack.dtype),), self.size, {})


def proposals(mine: np.ndarray | None, weight: float, size: int, rule: Merge) -> Proposals:
    """What this rank proposes.

    Parameters
    ----------
    mine : of shape (size,), float32; None for nothing.
    weight : what it counts.
    size : of all proposals.
    rule : one of `RULES`.
    """
    rows = () if mine is None else (np.append(mine, np.float32(weight)).astype(np.float32),)
    return Proposals(rows, size, {"name": type(rule).__name__, **asdict(rule)})  # type: ignore[call-overload]
