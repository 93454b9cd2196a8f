"""What a JOB.yaml may say."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping of the file: unknown keys are refused with the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for key in given if isinstance(given, dict) else ():
            if key not in known:
                raise _unknown_key(key, known)
        return given


class ReadSpec(Section):
    """How files of text are read, where that is not as `og.read` does by default."""

    format: str | None = None
    """parquet, csv, tsv, json, ipc, orc, avro, hdf5, delta or images, where the path does not tell."""
    types: dict[str, str] = Field(default_factory=dict)
    """Columns and their types: number, text, time, or the name of an Arrow type."""
    na_values: list[str] = Field(default_factory=list)
    """Cells of CSV that are missing, besides the empty one."""
    encoding: str | None = None
    """Of the bytes; UTF-8 if not given."""
    sep: str | None = None
    """What divides the cells of CSV."""
    decimal: Literal[".", ","] = "."
    """What stands before the fraction of a number in CSV."""


class TableSpec(Section):
    """Where a table of the query comes from; a plain string is a path."""

    path: str | None = None
    """A file, folder or pattern, looked for beside the job file; or a URI."""
    read: ReadSpec = Field(default_factory=ReadSpec)
    """How the files are read."""
    package: str | None = None
    """An installed Python package that carries tables as CSV files."""
    table: str | None = None
    """Which table of the package."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = [self.path is not None, self.package is not None and self.table is not None]
        if sum(named) != 1 or (self.path is not None and (self.package or self.table)):
            raise ValueError("give either a path, or both package and table")
        return self


class DataSpec(Section):
    """The rows: files as they are (`path`), or a query over named tables."""

    path: str | None = None
    """A file, folder or pattern, looked for beside the job file; or a URI."""
    read: ReadSpec = Field(default_factory=ReadSpec)
    """How the files of `path` are read."""
    tables: dict[str, TableSpec] = Field(default_factory=dict)
    """The tables of the query, by the names it uses."""
    query: str | None = None
    """SQL that yields one row an example."""
    query_file: str | None = None
    """A file with that SQL, looked for beside the job file."""
    drop: list[str] = Field(default_factory=list)
    """Columns to leave out: keys, and what is not known yet when the model predicts."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        ways = [name for name in ("path", "query", "query_file") if getattr(self, name) is not None]
        if len(ways) != 1:
            given = " and ".join(ways) if ways else "none of them"
            raise ValueError(f"give one of path, query, query_file; here is {given}")
        if bool(self.tables) != (ways != ["path"]):
            raise ValueError("tables and a query belong together: give both, or only a path")
        return self


class SplitSpec(Section):
    """Which rows the model is tested on; it never learns from them."""

    test: float | None = Field(default=None, gt=0, lt=1)
    """Share of the test rows, chosen by the hash of their values; 0.2 unless split by time."""
    seed: int = 0
    """Another seed chooses other rows."""
    by: list[str] | None = None
    """Hash these columns only, so that rows of one key stay on one side."""
    time: str | None = None
    """Split by this column instead: rows before `at` train, the rest test, those without a time, too."""
    at: Any = None
    """The moment that divides them: a number, a date, or a time, as the column holds."""
    feature: bool = False
    """Whether the model sees the columns of the split, `by` or `time`; by default it does not."""

    @model_validator(mode="before")
    @classmethod
    def _one_column(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("by"), str):
            return {**given, "by": [given["by"]]}
        return given

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if (self.time is None) != (self.at is None):
            raise ValueError("time and at belong together: the column, and the moment that divides its rows")
        if self.time is not None and (self.by is not None or self.test is not None):
            raise ValueError("split by hash (test, by) or by time (time, at), not both")
        return self


class EstimatorSpec(Section):
    """An estimator and its parameters, written `Name` or `Name: {parameter: value}`."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _spelt(cls, given: Any) -> Any:
        if isinstance(given, EstimatorSpec):
            return given
        name, parameters = (given, None) if isinstance(given, str) else _only_item(given)
        if not isinstance(parameters, dict | None):
            raise ValueError(f"the parameters of {name} are a mapping like {{C: 0.1}}, not {parameters!r}")
        return {"name": name, "parameters": parameters or {}}


class ValidationSpec(Section):
    """Which of the training rows a trial is scored on: a share of them, or folds."""

    test: float | None = Field(default=None, gt=0, lt=1)
    """Hold out this share, chosen by the hash of the rows; 0.2 unless there are folds."""
    folds: int | None = Field(default=None, ge=1)
    """Hold out each of so many folds in turn."""
    by: list[str] | None = None
    """Folds that never part the rows of these columns' values."""
    time: str | None = None
    """Folds in the order of this column: each is predicted by a model of the rows before it."""
    seed: int = 0
    """Another seed chooses other rows."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.test is not None and self.folds is not None:
            raise ValueError("give either test, a share, or folds")
        if (self.by or self.time) and self.folds is None:
            raise ValueError("by and time say how rows are put into folds: give folds, too")
        if self.by and self.time:
            raise ValueError("give either by or time")
        return self


class TuneSpec(Section):
    """How `outgrow tune` searches for settings of the steps and the model."""

    space: dict[str, Any]
    """What may be chosen, by `model.PARAMETER` or `steps.ESTIMATOR.PARAMETER`: a list, or low and high."""
    metric: str | list[str] | None = None
    """What is to be good; several for the best compromises."""
    validation: ValidationSpec = Field(default_factory=ValidationSpec)
    """Which rows a trial is scored on."""
    sampler: str = "tpe"
    """tpe, random, grid, cmaes or evolutionary."""
    pruner: str = "none"
    """none, median, asha or hyperband: end trials of poor outlook early."""
    trials: int | None = Field(default=None, ge=1)
    """End after so many trials."""
    seconds: float | None = Field(default=None, gt=0)
    """End after so long."""
    patience: int | None = Field(default=None, ge=1)
    """End after so many trials without a better one."""
    seed: int | None = 0
    """Of the sampler."""
    workers: int | None = Field(default=None, ge=1)
    """How many trials run at once."""
    cores: int = Field(default=1, ge=1)
    """Threads of a trial."""
    memory: str | None = None
    """The most memory of its own a trial may take, like 2GiB."""
    deadline: float | None = Field(default=None, gt=0)
    """The most seconds a trial may take."""


class TrackSpec(Section):
    """Where runs are recorded."""

    log: str | None = None
    """A database or a folder, as seen from where the command is run: ops.db, postgresql://user@host/name."""
    mlflow: bool = False
    """Also log to MLflow, to the server and experiment that its environment variables name."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Words to find the runs by."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        return {"log": given} if isinstance(given, str) else given


class Job(Section):
    """A whole job: rows in, a model, its scores and a report out."""

    name: str
    """What to call it in the report."""
    data: DataSpec
    """The rows."""
    target: str
    """The column to predict."""
    weight: str | None = None
    """A column that says how much each row counts."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """Work on this share of the rows, for a quick trial."""
    expect: dict[str, Any] | str | None = None
    """What the rows are expected to be, or a file that says so, looked for beside the job file."""
    split: SplitSpec = Field(default_factory=SplitSpec)
    """Which rows are for testing."""
    steps: list[EstimatorSpec] = Field(default_factory=list)
    """Transformers, in order."""
    model: EstimatorSpec
    """What learns from the transformed rows."""
    tune: TuneSpec | None = None
    """What `outgrow tune` may change."""
    track: TrackSpec | None = None
    """Where runs of the job are recorded; a plain string is the log."""
    input_example: bool = True
    """Whether the model keeps a test row, which the pages of `outgrow serve` show."""
    output: str
    """The folder to write, below the folder the command is run in."""


def _unknown_key(key: Any, known: Iterable[str], kind: str = "key") -> PydanticCustomError:
    """The error for a word that is not known, with the nearest that is."""
    return PydanticCustomError("unknown", "{text}", {"text": unknown(key, known, kind), "key": key})


def unknown(word: Any, known: Iterable[str], kind: str) -> str:
    """A sentence about a word that is not known, with the nearest that is.

    Parameters
    ----------
    word : as it was given.
    known : the words that may stand there; near is what is spelled alike, or but for its case.
    kind : what such a word is called in the sentence: 'key', 'column', 'step'.
    """
    words = sorted(known)
    near = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    folded = {known_word.lower(): known_word for known_word in words}
    nearest = folded.get(str(word).lower()) or (near[0] if near else None)
    hint = f"; did you mean {nearest!r}?" if nearest else "."
    return f"unknown {kind} {word!r}{hint} Known here: {', '.join(words)}."


def _only_item(given: Any) -> tuple[str, Any]:
    if not isinstance(given, dict) or len(given) != 1:
        raise ValueError(f"write one estimator as 'Name' or 'Name: {{parameter: value}}', not {given!r}")
    return next(iter(given.items()))
