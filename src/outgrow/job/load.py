"""A job file, read and checked as a whole before any data is."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from outgrow.errors import InputNotFoundError, JobFileError
from outgrow.job.components import SpecError, build_pipeline
from outgrow.job.model import Job
from outgrow.job.settings import YamlLoader, dump_yaml, set_value
from outgrow.ml.pipeline import Pipeline

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class LoadedJob:
    """A job that was checked, the pipeline it names (not fitted), and where it was read."""

    job: Job
    pipeline: Pipeline
    folder: Path
    document: dict[str, Any]

    def beside(self, path: str) -> str:
        """A path that the file names, as seen from here."""
        return path if "://" in path else os.path.join(self.folder, path)

    @property
    def query(self) -> str | None:
        """The query, from wherever the job keeps it.

        Raises
        ------
        InputNotFoundError
            When there is no such file.
        """
        name = self.job.data.query_file
        if name is None:
            return self.job.data.query
        try:
            return Path(self.beside(name)).read_text()
        except FileNotFoundError as error:
            raise InputNotFoundError(
                f"data.query_file: there is no file {self.beside(name)}. Correct the name."
            ) from error

    @property
    def text(self) -> str:
        """The job as YAML that runs from anywhere: with its settings, its query, and absolute paths."""
        document = copy.deepcopy(self.document)
        data = document["data"]
        if "path" in data:
            data["path"] = self._absolute(data["path"])
        for name, table in data.get("tables", {}).items():
            if isinstance(table, str):
                data["tables"][name] = self._absolute(table)
            elif "path" in table:
                table["path"] = self._absolute(table["path"])
        if self.query is not None:
            data.pop("query_file", None)
            data["query"] = self.query
        return dump_yaml(document)

    def _absolute(self, path: str) -> str:
        return path if "://" in path else os.path.abspath(self.beside(path))


def job_facts(loaded: LoadedJob, engine: Any) -> dict[str, Any]:
    """What a record of a job must hold so that it can be run again.

    Parameters
    ----------
    loaded : the job.
    engine : where it runs.
    """
    job = loaded.job
    return {
        "name": job.name,
        "job": loaded.text,
        "target": job.target,
        "weight": job.weight,
        "engine": engine,
        "output": job.output,
    }


def load_job(path: str | os.PathLike[str], settings: Sequence[str] = ()) -> LoadedJob:
    """Read a job file.

    Parameters
    ----------
    path : the file.
    settings : values to set in it, each like 'model.C=0.1'.

    Raises
    ------
    InputNotFoundError
        When there is no such file.
    JobFileError
        When the file or a setting is not valid: all faults, with the key and the line of each.
    """
    text = _read(Path(path))
    document, lines = _parse(text, str(path))
    for setting in settings:
        set_value(document, setting)
    try:
        job = Job.model_validate(document)
        pipeline = build_pipeline(job)
    except ValidationError as error:
        faults = [_fault(detail["loc"], detail) for detail in error.errors()]
    except SpecError as error:
        faults = [(error.key_path, str(error))]
    else:
        return LoadedJob(job, pipeline, Path(path).parent, document)
    messages = [_located(key_path, text, lines) for key_path, text in faults]
    raise JobFileError(f"{path} is not a valid job, and nothing was read:\n  " + "\n  ".join(messages))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputNotFoundError(f"No job file at {path}. Give the path of a YAML file.") from error
    except UnicodeDecodeError as error:
        raise JobFileError(f"{path} is not text: {error}. Give the path of a YAML file.") from error


def _parse(text: str, path: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The document, and the line of each of its keys."""
    try:
        node = yaml.compose(text, YamlLoader)
        lines: dict[KeyPath, int] = {}
        _collect_lines(node, (), lines, path)
        document = yaml.load(text, YamlLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise JobFileError(f"{path} is not YAML: {reason}. Correct that line.") from error
    if not isinstance(document, dict):
        raise JobFileError(f"{path} holds no job: it must be a mapping with {', '.join(Job.model_fields)}.")
    return document, lines


def _collect_lines(node: Any, key_path: KeyPath, lines: dict[KeyPath, int], path: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[(*key_path, i)] = item.start_mark.line + 1
            _collect_lines(item, (*key_path, i), lines, path)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        at = (*key_path, key.value)
        if at in lines:
            raise JobFileError(
                f"{path}, line {key.start_mark.line + 1}: {_dotted(at)} is there already, "
                f"on line {lines[at]}. Keep one of them."
            )
        lines[at] = key.start_mark.line + 1
        _collect_lines(value, at, lines, path)


def _fault(key_path: Sequence[Any], error: Any) -> tuple[KeyPath, str]:
    context = error.get("ctx", {})
    if error["type"] == "unknown":
        return (*key_path, context["key"]), context["text"]
    if error["type"] == "missing":
        return tuple(key_path), "is missing, and a job needs it."
    reason = error["msg"].removeprefix("Value error, ")
    given = "" if isinstance(error["input"], dict | list) else f" (here: {error['input']!r})"
    return tuple(key_path), f"{reason[:1].lower()}{reason[1:]}{given}."


def _located(key_path: KeyPath, text: str, lines: dict[KeyPath, int]) -> str:
    if not key_path:
        return text
    line = lines.get(key_path)
    return f"{_dotted(key_path)}{'' if line is None else f' (line {line})'}: {text}"


def _dotted(key_path: KeyPath) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in key_path).lstrip(".")
