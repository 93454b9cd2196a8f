"""The models that ranks learned from their own rows, while all of them get to know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class SiteModels(State):
    """What each rank learned by itself.

    Attributes
    ----------
    members : of each rank a dictionary: its `rank`; the `kinds` of estimators that learned, by their modules;
        `learned`, their attributes; and what `about` says of the rows they learned from.
    """

    members: list[dict[str, Any]]

    def merge(self, other: SiteModels) -> SiteModels:
        both = [*self.members, *other.members]
        return SiteModels(sorted(both, key=lambda member: int(member["rank"])))
