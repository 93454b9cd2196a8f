"""The main job on real flights, next to the same steps written by hand."""

from __future__ import annotations

import tempfile
from pathlib import Path

import outgrow as og
from bench.cases.names import LOCAL
from bench.contest import Case, Contender, Place, Quality, QualityMeasure

JOB = Path(__file__).parents[2] / "examples" / "flights" / "job.yaml"
BY_HAND = "pandas, scikit-learn, XGBoost by hand"
ROUNDS, QUICK_ROUNDS = 300, 30


def _rounds(place: Place) -> int:
    return QUICK_ROUNDS if place.quick else ROUNDS


def local(place: Place) -> dict[str, float]:
    from outgrow.job.load import load_job
    from outgrow.job.run import run_job

    with tempfile.TemporaryDirectory() as folder:
        job = load_job(JOB, [f"output={folder}/out", f"model.n_estimators={_rounds(place)}"])
        outcome = run_job(job, og.Local())
    assert outcome.scores is not None
    seconds = {f"{stage.name}, s": round(stage.seconds, 2) for stage in outcome.stages}
    shown = ("read and join, s", "fit, s")
    return {"ROC AUC": outcome.scores["roc_auc"], **{name: seconds[name] for name in shown}}


def by_hand(place: Place) -> dict[str, float]:
    from bench.flights_by_hand import run

    return run(_rounds(place))


def judge(path: Path) -> QualityMeasure:
    return lambda scores: scores


CASE = Case(
    name="flights",
    title="The main job: examples/flights/job.yaml from CSV to report",
    table=None,
    contenders=(Contender(LOCAL, local), Contender(BY_HAND, by_hand)),
    judge=judge,
    quality=Quality("ROC AUC", "high", 0.005),
    targets=(),
    notes="Ours also profiles the rows, fits a baseline, scores the test rows to Parquet and writes an HTML "
    "report; the script only reads, joins, fits, and measures. The splits are of the same size, not of the "
    "same rows.",
)
