"""`outgrow tune`: search for the settings of a job, and fit the best of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from sklearn.base import clone, is_classifier

from outgrow.engine.dataset import Engine
from outgrow.errors import JobFileError
from outgrow.job.load import LoadedJob
from outgrow.job.model import TuneSpec, ValidationSpec, unknown
from outgrow.job.record import MODEL, REPORT
from outgrow.job.settings import YamlLoader, dump_yaml
from outgrow.job.split import DEFAULT_TEST, hidden, split, without
from outgrow.job.stages import Stages
from outgrow.ml.pipeline import Pipeline
from outgrow.ml.selection.folds import Folds, GroupKFold, Holdout, KFold, StratifiedKFold, TimeFolds
from outgrow.storage import SEARCH, disk_errors, new_directory
from outgrow.tuning.result import TuneResult
from outgrow.tuning.search import tune
from outgrow.tuning.study import forget

STUDY, TRIALS, BEST, FOUND = "study.journal", "trials.parquet", "best.yaml", "best"


@dataclass(frozen=True)
class Searched:
    """What a search of a job found.

    Attributes
    ----------
    scores, before : metrics on the test rows, of the best settings and of those in the file.
    folder : where everything is.
    """

    tuned: TuneResult
    scores: Any
    before: Any
    folder: Path


def tune_job(
    loaded: LoadedJob,
    engine: Engine,
    *,
    within: str = "auto",
    overwrite: bool = False,
    callback: Callable[[Any], None] | None = None,
) -> Searched:
    """Search for the best settings of a job, fit them to its training rows, and judge them by its test rows.

    The folder `<output>-tune` keeps the study, so the same command goes on where it was stopped; with
    `overwrite` it begins anew.

    Raises
    ------
    JobFileError
        When the job says nothing of a search, or names a parameter that is not there.
    """
    from outgrow.job.tables import open_data

    job = loaded.job
    spec = job.tune
    if spec is None:
        raise JobFileError(
            "The job has no section tune. Add one with the space to search; see docs/tuning.md."
        )
    space = {_parameter(name, loaded.pipeline): each for name, each in spec.space.items()}
    folder = Path(f"{loaded.job.output}-tune")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        forget(folder / STUDY)
    stages = Stages()
    with stages("read"):
        rows = open_data(loaded, engine)
        train, test = split(rows, job)
    target, weight = job.target, job.weight
    folds = folds_of(spec.validation, classes=is_classifier(loaded.pipeline))
    only_split = tuple(name for name in hidden(job) if name not in folds.hidden)
    train = without(train, only_split, job)
    with stages("search"):
        tuned = tune(
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
        best = clone(loaded.pipeline).set_params(**tuned.best_parameters)
    train = without(train, folds.hidden, job)
    with stages("fit the best"):
        best.fit(train, target, sample_weight=weight)
    with stages("fit as it was"):
        before = loaded.pipeline.fit(train, target, sample_weight=weight)
    with stages("evaluate"):
        scores, old = (model.evaluate(test, target, sample_weight=weight) for model in (best, before))
    searched = Searched(tuned, scores, old, folder)
    with stages("report"):
        _write(loaded, searched, best, spec)
    return searched


def folds_of(spec: ValidationSpec, *, classes: bool) -> Folds:
    """The folds that a file asks for; stratified where classes are predicted."""
    if spec.folds is None:
        return Holdout(DEFAULT_TEST if spec.test is None else spec.test, spec.seed)
    if spec.time is not None:
        return TimeFolds(spec.time, spec.folds)
    if spec.by:
        return GroupKFold(spec.by, spec.folds, spec.seed)
    return StratifiedKFold(spec.folds, spec.seed) if classes else KFold(spec.folds, spec.seed)


def _parameter(name: str, pipeline: Pipeline) -> str:
    """`model.C` or `steps.OneHotEncoder.max_categories` as a parameter of the pipeline."""
    steps = pipeline.step_items
    place, _, rest = name.partition(".")
    if place == "model":
        return _known(name, f"{steps[-1][0]}__{rest}", pipeline)
    if place == "steps" and "." in rest:
        step, _, parameter = rest.partition(".")
        names = {type(estimator).__name__: known for known, estimator in steps[:-1]}
        if step not in names:
            raise JobFileError(f"tune.space: {unknown(step, names, 'step')}")
        return _known(name, f"{names[step]}__{parameter}", pipeline)
    raise JobFileError(
        f"tune.space: {name!r} names no parameter. Write model.PARAMETER, or steps.ESTIMATOR.PARAMETER."
    )


def _known(name: str, parameter: str, pipeline: Pipeline) -> str:
    step, _, own = parameter.partition("__")
    known = dict(pipeline.step_items)[step].get_params()
    if own not in known:
        raise JobFileError(f"tune.space: {name}: {unknown(own, known, 'parameter')}")
    return parameter


def _write(loaded: LoadedJob, searched: Searched, best: Pipeline, spec: TuneSpec) -> None:
    """Everything that was found, as a folder `best` that appears whole; the table of trials; the report."""
    from outgrow.job.tuning_report import tuning_report

    tuned, folder = searched.tuned, searched.folder
    with new_directory(folder / FOUND, SEARCH, overwrite=True) as found:
        best.save(found / MODEL)
        (found / BEST).write_text(best_job(loaded, tuned.best_parameters), encoding="utf-8")
        pq.write_table(tuned.trials, found / TRIALS)
        (found / REPORT).write_text(tuning_report(loaded.job, searched), encoding="utf-8")
        summary = {
            "parameters": tuned.best_parameters,
            "values": tuned.best_values,
            "test": dict(searched.scores),
            "test_before": dict(searched.before),
        }
        (found / "found.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def best_job(loaded: LoadedJob, parameters: Mapping[str, Any]) -> str:
    """The job with the best settings in it, as YAML to run."""
    document = yaml.load(loaded.text, YamlLoader)
    document.pop("tune", None)
    names = [name for name, _ in loaded.pipeline.step_items]
    for key, value in parameters.items():
        step, _, parameter = key.partition("__")
        place = names.index(step)
        holder, at = (document, "model") if place == len(names) - 1 else (document["steps"], place)
        if isinstance(holder[at], str):
            holder[at] = {holder[at]: {}}
        (name,) = holder[at]
        holder[at][name] = {**(holder[at][name] or {}), parameter: value}
    return dump_yaml(document)
