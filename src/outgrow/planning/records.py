"""Plans, and what jobs then took: in the log, where runs are recorded, and in the history of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from outgrow.job.load import LoadedJob
from outgrow.job.record import Outcome
from outgrow.job.recording import record
from outgrow.planning import history
from outgrow.planning.history import Compared, Constants, Expected
from outgrow.planning.plan import Plan


def made(plan: Plan, loaded: LoadedJob, constants: Constants) -> None:
    """Remember a plan, so that the next run of the job is compared with it.

    Parameters
    ----------
    plan : what was made.
    loaded : its job.
    constants : the corrections that are in it.
    """
    digest = record(loaded.job, "plan.made", plan.to_dict())
    history.note(plan.job, plan.settings, plan.forecast.expected, constants, digest)


def ran(job: str, settings: Sequence[str], outcome: Outcome) -> Compared | None:
    """Remember what a job took, beside its last plan; None where it was not planned, or ran elsewhere.

    Parameters
    ----------
    job : the path of the job file.
    settings : values set in it.
    outcome : of the run.
    """
    if outcome.engine != "local":
        return None  # the plan of a cluster has no stages, and says nothing of this machine
    stages = {stage.name: stage.seconds for stage in outcome.stages}
    compared = history.met(job, settings, Expected(outcome.seconds, outcome.memory, stages))
    if compared is not None:
        body = {
            "job": compared.job,
            "settings": list(settings),
            "rows": outcome.rows,
            "run": outcome.run,
            "took": asdict(compared.took),
            "planned": asdict(compared.planned),
        }
        record(outcome.loaded.job, "plan.met", body, compared.plan)
    return compared
