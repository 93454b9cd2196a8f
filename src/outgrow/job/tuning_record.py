"""What a search of a job found, and the files that hold it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outgrow.tuning.result import TuneResult

STUDY, TRIALS, BEST, BEST_FOLDER = "study.journal", "trials.parquet", "best.yaml", "best"


@dataclass(frozen=True)
class SearchOutcome:
    """What a search of a job found.

    Attributes
    ----------
    scores, before : metrics on the test rows, of the best settings and of those in the file.
    folder : where everything is.
    """

    result: TuneResult
    scores: Any
    before: Any
    folder: Path
