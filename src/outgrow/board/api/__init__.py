"""What the pages of the board show, a file a page: plain JSON, the same for scripts under /api/NAME."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from outgrow.board.api import (
    cluster,
    comparison,
    drift,
    lineage,
    plan,
    quality,
    registry,
    run,
    runs,
    search,
    serving,
)
from outgrow.board.sources import Sources

Query = Mapping[str, str]
Answer = Callable[[Sources, Query], dict[str, Any]]
Act = Callable[[Sources, Mapping[str, Any], str], dict[str, Any]]
"""Does what somebody with the token wants: the sources, what it says, and who."""

ANSWERS: dict[str, Answer] = {
    "runs": runs.answer,
    "run": run.answer,
    "compare": comparison.answer,
    "search": search.answer,
    "plan": plan.answer,
    "registry": registry.answer,
    "drift": drift.answer,
    "quality": quality.answer,
    "serving": serving.answer,
    "cluster": cluster.answer,
    "lineage": lineage.answer,
}
"""By name; each may be read at /api/NAME by anybody who reaches the board."""
ACTS: dict[str, Act] = {"rollback": registry.rollback}
"""By name; each may be done by POST /api/NAME with the token."""
