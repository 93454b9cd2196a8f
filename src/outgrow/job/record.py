"""What a job found: everything its report and its record tell."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from outgrow.data.version import DatasetVersion
from outgrow.engine.events import Event
from outgrow.engine.profile import Profile
from outgrow.expectations.report import ExpectationReport
from outgrow.inspection.pairs import Pairs
from outgrow.job.load import LoadedJob
from outgrow.job.stages import Stage
from outgrow.ml.evaluation import Scores
from outgrow.ml.pipeline import Pipeline
from outgrow.track.environment import libraries

MODEL, SCORES, REPORT, JOB, RECORD = "model", "scores", "report.html", "job.yaml", "run.json"
SET_ASIDE = "set_aside"
"""What lies in the output folder."""
SMALLER_IS_BETTER = frozenset({"log_loss", "mse", "rmse", "mae"})

Curve = list[tuple[int, float]]


@dataclass
class Outcome:
    """What a job found, filled stage by stage.

    Attributes
    ----------
    expectations : what came of checking the rows; None where nothing is expected.
    scores, baseline : metrics of the model and of one that ignores all columns, over the test rows.
    pairs : of a model of one number, the test rows by what is predicted and observed.
    run : the id in the log of runs; None where nobody records.
    losses, loss_unit : by name, (step, loss) of the optimiser as it went, and what its steps are called.
    """

    loaded: LoadedJob
    engine: str
    stages: list[Stage]
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    profile: Profile | None = None
    expectations: ExpectationReport | None = None
    scores: Scores | None = None
    baseline: Scores | None = None
    pairs: Pairs | None = None
    rows: int = 0
    train_rows: int = 0
    test_rows: int = 0
    losses: dict[str, Curve] = field(default_factory=dict)
    loss_unit: str = "step"
    fingerprint: dict[str, Any] = field(default_factory=dict)
    version: DatasetVersion | None = None
    run: str | None = None

    @property
    def model(self) -> Pipeline:
        return self.loaded.pipeline

    @property
    def memory(self) -> int:
        """The most bytes that this process held."""
        return max((stage.memory for stage in self.stages), default=0)

    @property
    def baseline_name(self) -> str:
        return "class shares" if is_classifier(self.model) else "mean"

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    def score_rows(self) -> list[tuple[str, float, float]]:
        """Each metric: its name, the model's value, the baseline's."""
        assert self.scores is not None
        assert self.baseline is not None
        return [(name, value, self.baseline[name]) for name, value in self.scores.items()]

    def to_json(self) -> str:
        """The record for programs."""
        record = {
            "name": self.loaded.job.name,
            "began": self.began.isoformat(timespec="seconds"),
            "engine": self.engine,
            "rows": {"train": self.train_rows, "test": self.test_rows},
            "scores": {name: _plain(value) for name, value, _ in self.score_rows()},
            "baseline": {name: _plain(value) for name, _, value in self.score_rows()},
            "stages": [asdict(stage) for stage in self.stages],
            "job": self.loaded.document,
            "data": self.fingerprint,
            "version": None if self.version is None else self.version.to_dict(),
            "expectations": None if self.expectations is None else self.expectations.to_dict(),
            "libraries": libraries(),
        }
        return json.dumps(record, indent=1, default=str) + "\n"


class LossCurve:
    """Listens to events and keeps each loss."""

    def __init__(self) -> None:
        self.curves: dict[str, Curve] = {}
        self.unit = "step"

    def __call__(self, event: Event) -> None:
        if event.loss is not None and math.isfinite(event.loss):
            self.unit = event.unit
            self.curves.setdefault("training rows", []).append((event.step, event.loss))


def learning_curves(model: Any, heard: dict[str, Curve]) -> dict[str, Curve]:
    """The losses a fitted model kept, or those that were heard while it was fitted.

    Parameters
    ----------
    model : the fitted model at the end of a pipeline, which may have `train_loss_` and `validation_loss_`.
    heard : curves by name, as `LossCurve` kept them; taken where the model has none.
    """
    kept = {"training rows": "train_loss_", "validation rows": "validation_loss_"}
    curves = {name: _steps(getattr(model, attribute, None)) for name, attribute in kept.items()}
    return {name: curve for name, curve in curves.items() if curve} or heard


def importances(pipeline: Pipeline) -> tuple[str, list[tuple[str, float]]]:
    """What the numbers mean, and (feature, importance) from the largest on; empty if the model has none."""
    model: Any = pipeline.model
    if hasattr(model, "feature_importances_"):
        meaning, values = "Share of the gain of all splits", np.asarray(model.feature_importances_)
    elif hasattr(model, "coef_"):
        meaning, values = "Size of the coefficient", np.abs(np.atleast_2d(model.coef_)).mean(axis=0)
    else:
        return "", []
    names = pipeline.get_feature_names_out()
    order = np.argsort(-values, kind="stable")
    return meaning, [(str(names[index]), float(values[index])) for index in order]


def _steps(losses: Any) -> Curve:
    if losses is None:
        return []
    return [(step, float(loss)) for step, loss in enumerate(losses, 1)]


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
