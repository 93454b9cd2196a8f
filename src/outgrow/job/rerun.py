"""A job run again from its record alone, and whether the same model came of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outgrow.engine.protocol import Engine
from outgrow.errors import InputNotFoundError, JobFileError, ParameterError
from outgrow.job.load import LoadedJob, load_job
from outgrow.job.record import MODEL, Outcome
from outgrow.job.run import run_job
from outgrow.job.tables import open_data
from outgrow.log.event_log import EventLog
from outgrow.track.compare import compare
from outgrow.track.details import RunDetails, details
from outgrow.track.environment import code, environment
from outgrow.track.facts import data_facts, learned_digest
from outgrow.track.runs import find_run

_STARS = ":***@"


@dataclass(frozen=True)
class Rerun:
    """A run that is to be done again.

    Attributes
    ----------
    run : what is known of it.
    loaded : its job, with another output.
    engine : the engine's name, as commands take it.
    moved : in what the rows differ from those of then; empty where they are the same.
    changed : in what libraries, machine and code differ.
    """

    run: RunDetails
    loaded: LoadedJob
    engine: str
    moved: list[str]
    changed: list[str]


def recorded_job(run: RunDetails) -> str:
    """The job of a run, as YAML.

    Parameters
    ----------
    run : all that is known of it.

    Raises
    ------
    ParameterError
        When it was no job; it says what would be needed.
    """
    text = run.beginning.get("job")
    kind = run.beginning.get("kind")
    if text is not None and kind == "run":
        return str(text)
    if kind == "tune":
        raise ParameterError(
            f"Run {run.run[:8]} is a search. Run the best of its settings again with outgrow run "
            f"{(run.ending.get('artifacts') or {}).get('folder', 'OUTPUT-tune/best')}/best.yaml, or search "
            "anew with outgrow tune --overwrite."
        )
    script = run.beginning.get("code", {})
    where = f"{script.get('script') or 'a notebook or a shell'}"
    commit = f" at commit {script['commit'][:12]}" if script.get("commit") else ", which is in no repository"
    in_memory = any(not seen.get("files") and seen.get("kind") in ("table", "array") for seen in run.data)
    needs = "its rows were in memory, so the log has their fingerprint alone; " if in_memory else ""
    raise ParameterError(
        f"Run {run.run[:8]} is a {kind} of {where}{commit}: {needs}run that program again, or write the work "
        "as a job file (docs/job-file.md), whose runs the log can repeat."
    )


def plan_rerun(
    name: str, log: EventLog, open_engine: Any, *, output: str | None, engine: str | None
) -> Rerun:
    """Look what differs from then, before anything is run.

    Parameters
    ----------
    name : the run, as `find_run` takes it.
    log : where it is recorded.
    open_engine : makes an engine from its name.
    output : the folder to write; that of the run with `-rerun` behind it if None.
    engine : its name; that of the run if None.

    Raises
    ------
    ParameterError
        When the log cannot repeat the run; it says what would be needed.
    InputNotFoundError
        When the rows are gone.
    """
    run = details(find_run(name, log), log)
    text = recorded_job(run)
    if _STARS in text:
        raise ParameterError(
            f"The job of run {run.run[:8]} reads from an address with a password, which is not recorded. "
            "Run it again from its job file."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.yaml"
        path.write_text(text)
        target = output or f"{run.beginning.get('output')}-rerun"
        try:
            loaded = load_job(path, [f"output={target}"])
        except JobFileError as error:
            raise JobFileError(f"The job of run {run.run[:8]} is none for this outgrow: {error}") from error
    name = engine or str((run.beginning.get("engine") or {}).get("name") or "local")
    opened = open_engine(name)
    try:
        rows = data_facts(open_data(loaded, opened))
    except InputNotFoundError as error:
        raise InputNotFoundError(f"The rows of run {run.run[:8]} are gone: {error}") from error
    return Rerun(run, loaded, name, _moved(run, rows), _changed(run))


def rerun(plan: Rerun, engine: Engine, *, overwrite: bool = False) -> tuple[Outcome, bool | None]:
    """Run the job again; the new run names the old one as its cause.

    Parameters
    ----------
    plan : as `plan_rerun` gives it.
    engine : the opened engine.
    overwrite : replace an output that an earlier run wrote.

    Returns
    -------
    The outcome, and whether the model is the same to the bit; None where the old one has no digest.
    """
    outcome = run_job(plan.loaded, engine, overwrite=overwrite, cause=plan.run.run)
    then = plan.run.ending.get("model")
    now = learned_digest(Path(plan.loaded.job.output) / MODEL)
    return outcome, None if then is None else then == now


def _moved(run: RunDetails, now: Mapping[str, Any]) -> list[str]:
    """What is not as it was with the rows."""
    then = next(iter(run.data), None)
    if then is None:
        return ["the run ended before it had opened its rows"]
    if then.get("fingerprint") == now["fingerprint"]:
        return []
    lines = []
    if then.get("version") != now["version"]:
        lines.append(f"version {then.get('version')} is now {now['version']}")
    files, others = ({file["path"]: file for file in facts.get("files", [])} for facts in (then, now))
    for path in sorted(files.keys() | others.keys()):
        before, after = files.get(path), others.get(path)
        if before is None or after is None:
            lines.append(f"{path} is {'new' if before is None else 'gone'}")
        elif before != after:
            lines.append(
                f"{path} had {before['bytes']:,} bytes of {before['modified']}, "
                f"and has {after['bytes']:,} of {after['modified']}"
            )
    columns, now_columns = dict(then.get("schema", {})), dict(now["schema"])
    lines += [
        f"column {column} was {columns.get(column)}, and is {now_columns.get(column)}"
        for column in sorted(columns.keys() | now_columns.keys())
        if columns.get(column) != now_columns.get(column)
    ]
    return lines or [f"the fingerprint {str(then.get('fingerprint'))[:16]} is now {now['fingerprint'][:16]}"]


def _changed(run: RunDetails) -> list[str]:
    """What is not as it was with libraries, machine and code."""
    here = RunDetails(
        run.run, {**run.beginning, "environment": environment(), "code": code()}, run.began, "", None, ""
    )
    sections = compare(run, here)
    ours = ("commit", "dirty", "python", "cpus", "system")
    pairs = [*sections["environment"], *sections["code"]]
    libraries = run.beginning.get("environment", {}).get("libraries", {})
    return [
        f"{pair.name} was {pair.first}, and is {pair.second}"
        for pair in pairs
        if not pair.same and (pair.name in ours or pair.name in libraries)
    ]


def output_of(plan: Rerun) -> str:
    """The folder that it writes."""
    return os.path.relpath(plan.loaded.job.output)
