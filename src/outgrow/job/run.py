"""The main job, from rows to report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn.base import is_classifier

from outgrow.catalogue import estimator_class
from outgrow.data.kind import NUMBER, Kind
from outgrow.data.version import DatasetVersion
from outgrow.engine.activity import activity, checked, seen
from outgrow.engine.dataset import Dataset
from outgrow.engine.events import listen
from outgrow.engine.profile import profile
from outgrow.engine.protocol import Engine
from outgrow.engine.reference import Reference
from outgrow.errors import DataError, SchemaError
from outgrow.inspection.pairs import Pairs, count_pairs, predicts_one_number
from outgrow.job.load import LoadedJob, job_facts
from outgrow.job.record import (
    JOB,
    MODEL,
    RECORD,
    REPORT,
    SCORES,
    SET_ASIDE,
    LossCurve,
    Outcome,
    learning_curves,
)
from outgrow.job.recording import recording
from outgrow.job.report import job_report
from outgrow.job.split import hidden, split, without
from outgrow.job.stages import Stages
from outgrow.job.tables import guard_of, open_data
from outgrow.ml.core.inputs import open_training
from outgrow.ml.predictor import Predictor
from outgrow.serve.batch import score
from outgrow.storage import RUN, check_free, new_directory


def run_job(
    loaded: LoadedJob,
    engine: Engine,
    *,
    overwrite: bool = False,
    cause: str | None = None,
    report: bool = True,
) -> Outcome:
    """Do all a job asks for. Its output folder appears whole at the end, or not at all.

    Parameters
    ----------
    loaded : the job, with its pipeline not yet fitted.
    engine : where its rows are read and its pipeline is fitted.
    overwrite : replace an output folder that an earlier run wrote.
    cause : what led to it, such as the id of an earlier run, for the record.
    report : whether to draw the page.

    Raises
    ------
    OutputExistsError
        When the output folder exists and `overwrite` is false; before anything is read.
    """
    facts = {**job_facts(loaded, engine), "cause": cause}
    with recording(loaded.job), activity("run", loaded.pipeline, **facts) as under_way:
        with new_directory(loaded.job.output, RUN, overwrite=overwrite) as folder:
            outcome = run_within(loaded, engine, folder, report=report)
            outcome.run = under_way.id
        under_way.note(
            rows=outcome.rows,
            metrics=outcome.scores,
            baseline=outcome.baseline,
            artifacts=Path(loaded.job.output),
        )
    return outcome


def run_within(
    loaded: LoadedJob, engine: Engine, folder: Path, rows: Dataset | None = None, *, report: bool = True
) -> Outcome:
    """Do all a job asks for, in a folder that is empty, without recording it.

    Parameters
    ----------
    loaded : the job, with its pipeline not yet fitted.
    engine : where its rows are read and its pipeline is fitted.
    folder : where everything is written.
    rows : in place of those that the job names; nothing is expected of them.
    report : write its page, too.
    """
    return _JobRun(loaded, engine, folder, rows).run(report=report)


def check_output(loaded: LoadedJob, *, overwrite: bool = False) -> None:
    """Refuse an output folder that exists, before an engine is started.

    Parameters
    ----------
    loaded : the job, whose `output` is looked at.
    overwrite : allow a folder that an earlier run wrote.

    Raises
    ------
    OutputExistsError
        When the folder exists and may not be replaced.
    """
    check_free(loaded.job.output, RUN, overwrite=overwrite)


@dataclass
class _Parts:
    """Rows to learn from, and rows to be tested on."""

    train: Dataset
    test: Dataset


class _JobRun:
    """One run of a job, into a folder that is empty."""

    def __init__(self, loaded: LoadedJob, engine: Engine, folder: Path, rows: Dataset | None) -> None:
        self._given = rows
        self.loaded, self.job = loaded, loaded.job
        self.engine, self.folder = engine, folder
        self.stages = Stages()
        self.outcome = Outcome(loaded, engine.name, self.stages.done)

    def run(self, *, report: bool = True) -> Outcome:
        rows = self._open()
        try:
            remaining = self._profile(rows)
            parts = self._split(remaining)
            self._fit(parts.train)
            self._evaluate(parts)
            self._save(parts)
            self._score(parts.test)
        finally:
            rows.uncache()
        if report:
            self._report()
        self._record()
        return self.outcome

    def _open(self) -> Dataset:
        with self.stages("read and join") as stage:
            rows = self._given or open_data(self.loaded, self.engine, checked=True)
            self._check_target(rows)
            self.outcome.fingerprint = rows.fingerprint()
            seen(rows, self.outcome.fingerprint)
            self.outcome.version = DatasetVersion.of(rows.scan, self.outcome.fingerprint)
            if not rows.scan.source.has_pieces and self.engine.shared_folder is not None:
                rows = rows.cache()  # every stage reads them again
            self.outcome.rows = stage.rows = rows.count()
            if not stage.rows:
                raise DataError("The job's data has no rows. Check the query, the path, and --sample.")
        return rows

    def _check_target(self, rows: Dataset) -> None:
        kind = Kind.of(rows.schema.field(self.job.target).type)
        if not is_classifier(self.loaded.pipeline) and kind != NUMBER:
            raise SchemaError(
                f"target {self.job.target!r} is a {kind}; {self.job.model.name} predicts numbers. "
                "Choose a classifier, or another target."
            )

    def _profile(self, rows: Dataset) -> Dataset:
        """Profile the rows, and in the same pass hold them against what is expected; those that remain."""
        if self.loaded.expectations is None or self._given is not None:
            with self.stages("profile") as stage:
                self.outcome.profile = rows.profile()
                stage.rows = self.outcome.rows
            return rows
        with self.stages("profile and check") as stage:
            guard = guard_of(self.loaded, rows)
            try:
                self.outcome.profile = profile(rows.engine, rows.scan, watch=guard.watch)
            finally:
                checked(guard.report)
            self.outcome.expectations = guard.report
            guard.write_aside(self.folder / SET_ASIDE)
            stage.rows, self.outcome.rows = self.outcome.rows, self.outcome.profile.rows
        if not self.outcome.rows:
            raise DataError("All rows were set aside. See what is expected of them.")
        return guard.rows

    def _split(self, rows: Dataset) -> _Parts:
        with self.stages("split") as stage:
            parts = _Parts(*split(rows, self.job))
            test = parts.test.count()
            train = self.outcome.rows - test
            if not train or not test:
                raise DataError(
                    f"The split leaves {train:,} rows to learn from and {test:,} to test on. "
                    "Change split.test, split.at, or sample more."
                )
            self.outcome.train_rows, self.outcome.test_rows = train, test
            stage.rows = train + test
        return _Parts(without(parts.train, hidden(self.job), self.job), parts.test)

    def _fit(self, train: Dataset) -> None:
        heard = LossCurve()
        with self.stages("fit") as stage, listen(heard):
            self.loaded.pipeline.fit(train, self.job.target, sample_weight=self.job.weight)
            stage.rows = self.outcome.train_rows
        self.outcome.loss_unit = heard.unit
        self.outcome.losses = learning_curves(self.loaded.pipeline.model, heard.curves)

    def _evaluate(self, parts: _Parts) -> None:
        with self.stages("evaluate") as stage:
            self.outcome.scores = self._scores(self.loaded.pipeline, parts.test)
            self.outcome.pairs = self._pairs(parts.test)
            self.outcome.baseline = self._scores(self._baseline(parts.train), parts.test)
            stage.rows = self.outcome.test_rows

    def _baseline(self, train: Dataset) -> Any:
        name = "DummyClassifier" if is_classifier(self.loaded.pipeline) else "DummyRegressor"
        return estimator_class(name)().fit(train, self.job.target, sample_weight=self.job.weight)

    def _scores(self, model: Any, test: Dataset) -> Any:
        return model.evaluate(test, self.job.target, sample_weight=self.job.weight)

    def _pairs(self, test: Dataset) -> Pairs | None:
        """Predicted beside observed numbers, where the model is of one number."""
        model = self.loaded.pipeline
        assert self.outcome.scores is not None
        if not predicts_one_number(model, self.outcome.scores):
            return None
        opened = open_training(model, test, self.job.target, self.job.weight, reset=False)
        return count_pairs(Predictor(model), opened)

    def _save(self, parts: _Parts) -> None:
        with self.stages("save model"):
            example = parts.test if self.job.input_example else None
            reference = self._reference(parts.train)
            self.loaded.pipeline.save(self.folder / MODEL, input_example=example, reference=reference)

    def _reference(self, train: Dataset) -> Reference:
        """How the rows were distributed that the model learned from, and what it says of them."""
        return Reference.of(train, self.loaded.pipeline)

    def _score(self, test: Dataset) -> None:
        with self.stages("score test rows") as stage:
            model = self.loaded.pipeline
            scored = score(model, test, self.folder / SCORES, probabilities=hasattr(model, "predict_proba"))
            stage.rows = scored.rows

    def _report(self) -> None:
        with self.stages("report"):
            page = job_report(self.outcome)
            (self.folder / REPORT).write_text(page, encoding="utf-8")

    def _record(self) -> None:
        (self.folder / JOB).write_text(self.loaded.text, encoding="utf-8")
        (self.folder / RECORD).write_text(self.outcome.to_json(), encoding="utf-8")
