"""`outgrow tune`: search for the settings of a job, and fit the best of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from sklearn.base import clone, is_classifier

from outgrow.data.yaml_files import YamlLoader
from outgrow.engine.activity import activity, checked, seen
from outgrow.engine.dataset import Dataset
from outgrow.engine.protocol import Engine
from outgrow.errors import JobFileError, ParameterError
from outgrow.expectations.guard import Guard
from outgrow.job.load import LoadedJob, job_facts
from outgrow.job.model import TuneSpec, ValidationSpec, unknown
from outgrow.job.record import MODEL, REPORT, SET_ASIDE
from outgrow.job.recording import recording
from outgrow.job.settings import dump_yaml
from outgrow.job.split import DEFAULT_TEST_SHARE, hidden, split, without
from outgrow.job.stages import Stages
from outgrow.job.tables import guard_of, open_data
from outgrow.job.tuning_record import BEST, BEST_FOLDER, STUDY, TRIALS, SearchOutcome
from outgrow.job.tuning_report import tuning_report
from outgrow.ml.pipeline import Pipeline
from outgrow.ml.selection.folds import Folds, GroupKFold, Holdout, KFold, StratifiedKFold, TimeFolds
from outgrow.storage import SEARCH, disk_errors, new_directory
from outgrow.tuning.search import tune
from outgrow.tuning.space import Space
from outgrow.tuning.study import forget


def tune_job(
    loaded: LoadedJob,
    engine: Engine,
    *,
    within: str = "auto",
    overwrite: bool = False,
    callback: Callable[[Any], None] | None = None,
) -> SearchOutcome:
    """Search for the best settings of a job, fit them to its training rows, and score them on its test rows.

    The folder `<output>-tune` keeps the study, so the same command goes on where it was stopped.

    Parameters
    ----------
    loaded : the job, with the section `tune`.
    engine : where the rows are read and trials run.
    within : how trials run: 'workers', 'engine', 'fused', or 'auto', as for `outgrow.tune`.
    overwrite : forget the trials that were done, and begin anew.
    callback : called with Optuna's study after each trial.

    Raises
    ------
    JobFileError
        When the job says nothing of a search, or names a parameter or a value that cannot be.
    """
    job = loaded.job
    spec = job.tune
    if spec is None:
        raise JobFileError(
            "The job has no section tune. Add one with the space to search; see docs/tuning.md."
        )
    space = {_parameter(name, loaded.pipeline): choices for name, choices in spec.space.items()}
    try:
        Space(space).check(loaded.pipeline)
    except ParameterError as error:
        raise JobFileError(f"tune.space: {error}") from error
    facts = job_facts(loaded, engine)
    with recording(job), activity("tune", loaded.pipeline, within=within, **facts) as under_way:
        outcome = _searched(loaded, engine, space, spec, within, overwrite, callback)
        under_way.note(
            search=outcome.result,
            metrics=outcome.scores,
            before=outcome.before,
            artifacts=outcome.folder / BEST_FOLDER,
        )
    return outcome


def _searched(
    loaded: LoadedJob,
    engine: Engine,
    space: Mapping[str, Any],
    spec: TuneSpec,
    within: str,
    overwrite: bool,
    callback: Callable[[Any], None] | None,
) -> SearchOutcome:
    job, folder = loaded.job, Path(f"{loaded.job.output}-tune")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        forget(folder / STUDY)
    stages = Stages()
    with stages("read"):
        rows = open_data(loaded, engine, checked=True)
        seen(rows)
        if loaded.expectations is not None:
            rows = _remaining(guard_of(loaded, rows), folder)
        train, test = split(rows, job)
    target, weight = job.target, job.weight
    folds = folds_of(spec.validation, classes=is_classifier(loaded.pipeline))
    only_split = tuple(name for name in hidden(job) if name not in folds.hidden)
    train = without(train, only_split, job)
    with stages("search"):
        result = tune(
            loaded.pipeline,
            train,
            target,
            weight,
            validation=folds,
            study=folder / STUDY,
            within=within,
            callback=callback,
            refit=False,
            **{**spec.model_dump(exclude={"validation"}), "space": space},
        )
        best = clone(loaded.pipeline).set_params(**result.best_parameters)
    train = without(train, folds.hidden, job)
    with stages("fit the best"):
        best.fit(train, target, sample_weight=weight)
    with stages("fit as it was"):
        before = loaded.pipeline.fit(train, target, sample_weight=weight)
    with stages("evaluate"):
        scores, old = (model.evaluate(test, target, sample_weight=weight) for model in (best, before))
    outcome = SearchOutcome(result, scores, old, folder)
    with stages("report"):
        _write(loaded, outcome, best, spec)
    return outcome


def _remaining(guard: Guard, folder: Path) -> Dataset:
    """The rows that are as expected; the others are written beside the study."""
    try:
        rows = guard.settle(guard.count())
    finally:
        checked(guard.report)
    aside = folder / SET_ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    guard.write_aside(aside)
    return rows


def folds_of(spec: ValidationSpec, *, classes: bool) -> Folds:
    """The folds that a file asks for.

    Parameters
    ----------
    spec : its section `validation`; without `folds`, a part of the rows is held out once.
    classes : whether classes are predicted, so that folds are stratified where nothing else is asked for.
    """
    if spec.folds is None:
        return Holdout(DEFAULT_TEST_SHARE if spec.test is None else spec.test, spec.seed)
    if spec.time is not None:
        return TimeFolds(spec.time, spec.folds)
    if spec.by:
        return GroupKFold(spec.by, spec.folds, spec.seed)
    return StratifiedKFold(spec.folds, spec.seed) if classes else KFold(spec.folds, spec.seed)


def _parameter(name: str, pipeline: Pipeline) -> str:
    """`model.C` or `steps.OneHotEncoder.max_categories` as a parameter of the pipeline."""
    steps = pipeline.step_items
    section, _, rest = name.partition(".")
    if section == "model":
        return _known(name, f"{steps[-1][0]}__{rest}", pipeline)
    if section == "steps" and "." in rest:
        step, _, parameter = rest.partition(".")
        names = {type(estimator).__name__: known for known, estimator in steps[:-1]}
        if step not in names:
            raise JobFileError(f"tune.space: {unknown(step, names, 'step')}")
        return _known(name, f"{names[step]}__{parameter}", pipeline)
    raise JobFileError(
        f"tune.space: {name!r} names no parameter. Write model.PARAMETER, or steps.ESTIMATOR.PARAMETER."
    )


def _known(name: str, parameter: str, pipeline: Pipeline) -> str:
    step, _, bare_name = parameter.partition("__")
    known = dict(pipeline.step_items)[step].get_params()
    if bare_name not in known:
        raise JobFileError(f"tune.space: {name}: {unknown(bare_name, known, 'parameter')}")
    return parameter


def _write(loaded: LoadedJob, outcome: SearchOutcome, best: Pipeline, spec: TuneSpec) -> None:
    """Everything that was found, as a folder `best` that appears whole; the table of trials; the report."""
    result, folder = outcome.result, outcome.folder
    with new_directory(folder / BEST_FOLDER, SEARCH, overwrite=True) as draft:
        best.save(draft / MODEL)
        (draft / BEST).write_text(_best_job(loaded, result.best_parameters), encoding="utf-8")
        pq.write_table(result.trials, draft / TRIALS)
        (draft / REPORT).write_text(tuning_report(loaded.job, outcome), encoding="utf-8")
        summary = {
            "parameters": result.best_parameters,
            "values": result.best_values,
            "test": dict(outcome.scores),
            "test_before": dict(outcome.before),
        }
        (draft / "found.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def _best_job(loaded: LoadedJob, parameters: Mapping[str, Any]) -> str:
    """The job with the best settings in it, as YAML to run."""
    document = yaml.load(loaded.text, YamlLoader)
    document.pop("tune", None)
    names = [name for name, _ in loaded.pipeline.step_items]
    for key, value in parameters.items():
        step, _, parameter = key.partition("__")
        step_number = names.index(step)
        holder, at = (
            (document, "model") if step_number == len(names) - 1 else (document["steps"], step_number)
        )
        if isinstance(holder[at], str):
            holder[at] = {holder[at]: {}}
        (name,) = holder[at]
        holder[at][name] = {**(holder[at][name] or {}), parameter: value}
    return dump_yaml(document)
