"""The graph as a fold of the log, and from what folders say of themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from outgrow import artifact
from outgrow.data.version import digest
from outgrow.errors import ArtifactError, InputNotFoundError
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.provenance.graph import ALIAS, DATA, MODEL, PREDICTIONS, RUN, SOURCE, VERSION, Lineage
from outgrow.storage import STRUCTURE, read_info
from outgrow.track.tracking import default_log

KINDS = ("run.began", "data.seen", "run.ended", "model.added", "alias.moved")
_AT = re.compile(r"(.+)@[^@/]+")
_MAKES_MODELS = ("fit", "run", "tune", "federate")
_SHOWN = 8
_SCORES, _MODEL = "scores", "model"


def lineage(
    what: str | os.PathLike[str] | None = None, *, log: EventLog | str | os.PathLike[str] | None = None
) -> Lineage:
    """What came of what: source, version, run, model, alias, predictions.

    Parameters
    ----------
    what : the folder of a model, of scores or of a job; the path or URI of data; `store@alias`, `store/3`; a
        run's id. None for all that the log has.
    log : where runs, versions and aliases are recorded. Without one, what the folder says of itself.

    Raises
    ------
    InputNotFoundError
        When neither the folder nor the log knows it.

    Examples
    --------
    >>> import tempfile, pyarrow as pa, outgrow as og
    >>> table = pa.table({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})
    >>> model = og.LinearRegression().fit(table, "y")
    >>> _ = og.score(model, table, scores := tempfile.mkdtemp() + "/scores")
    >>> [node.kind for column in og.lineage(scores).layers() for node in column]
    ['data', 'model', 'predictions']
    """
    graph = Lineage()
    opened = EventLog(log) if isinstance(log, str | os.PathLike) else log
    if opened is not None:
        fold = LogFold(graph)
        for record in opened.since(0, kinds=KINDS):
            fold.take(record)
    if what is None:
        return graph
    text = os.fspath(what)
    begun = add_folder(graph, Path(text)) or matching(graph, text)
    if not begun:
        where = "" if opened is None else f", and {opened!r} has no record of it"
        raise InputNotFoundError(
            f"{text!r} says nothing of where it came from{where}. Give the folder of a model or of "
            "scores; for "
            "data, runs and aliases name the log (--log)."
        )
    return graph.around(begun)


def log_here() -> str | None:
    """The log that OUTGROW_LOG names, or that lies in this folder; None where there is none."""
    uri = default_log()
    return (
        uri
        if "://" in uri.removeprefix("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()
        else None
    )


class LogFold:
    """Takes records in.

    Parameters
    ----------
    graph : is filled.
    """

    def __init__(self, graph: Lineage) -> None:
        self._graph = graph
        self._began: dict[str, Mapping[str, Any]] = {}

    def take(self, record: Record) -> None:
        """Take a record of one of `KINDS` in."""
        graph, body, subject = self._graph, record.body, record.subject
        if record.kind == "run.began":
            self._began[subject] = body
            name = graph.add(RUN, subject, _run_label(body, subject), _run_facts(record))
            self._model_used(body, name)
            if body.get("kind") == "stream":  # which writes as long as it runs
                self._written(body, name)
        elif record.kind == "data.seen":
            graph.join(add_data(graph, body), graph.add(RUN, subject, ""), str(body.get("role", "")))
        elif record.kind == "run.ended":
            self._ended(record)
        elif record.kind == "model.added":
            added = graph.add(
                VERSION, f"{subject}/{body['version']}", f"{subject} version {body['version']}", body
            )
            if body.get("run"):
                run = graph.add(RUN, str(body["run"]), "")
                model = graph.add(MODEL, str(body["run"]), f"model of {str(body['run'])[:_SHOWN]}")
                graph.join(run, model)
                graph.join(model, added)
            elif isinstance(body.get("data"), Mapping):
                graph.join(add_data(graph, body["data"]), added, "training")
        elif record.kind == "alias.moved":
            self._moved(subject, body)

    def _model_used(self, body: Mapping[str, Any], run: str) -> None:
        used = body.get("of")
        if isinstance(used, Mapping) and used.get("run"):
            label = f"model of {str(used['run'])[:_SHOWN]}"
            self._graph.join(self._graph.add(MODEL, str(used["run"]), label), run)

    def _written(self, began: Mapping[str, Any], run: str) -> None:
        if began.get("output"):
            folder = os.path.abspath(str(began["output"]))
            self._graph.join(run, self._graph.add(PREDICTIONS, folder, folder), "")

    def _ended(self, record: Record) -> None:
        graph, body, subject = self._graph, record.body, record.subject
        run = graph.add(RUN, subject, "", {"state": body.get("state"), "ended": record.time})
        began = self._began.get(subject, {})
        if body.get("state") != "finished":
            return
        self._written(began, run)
        if began.get("kind") not in _MAKES_MODELS:
            return
        folder = (body.get("artifacts") or {}).get("folder")
        label = f"{began.get('estimator') or 'model'} of {subject[:_SHOWN]}"
        path = None if folder is None else os.path.join(str(folder), _MODEL)
        model = graph.add(MODEL, subject, label, {"path": path, "digest": body.get("model")})
        graph.join(run, model)
        if folder is not None:
            scores = os.path.join(str(folder), _SCORES)
            if any(
                str(file["path"]).startswith(f"{_SCORES}/") for file in body["artifacts"].get("files", ())
            ):
                graph.join(model, graph.add(PREDICTIONS, scores, scores))

    def _moved(self, subject: str, body: Mapping[str, Any]) -> None:
        graph = self._graph
        name = graph.add(
            ALIAS, f"{subject}@{body['alias']}", f"{subject}@{body['alias']}", {"why": body.get("why")}
        )
        graph.part(name)
        if body.get("to") is None:
            graph.nodes.pop(name, None)
            return
        key = f"{subject}/{body['to']}"
        graph.join(graph.add(VERSION, key, f"{subject} version {body['to']}"), name)


def add_data(graph: Lineage, version: Mapping[str, Any]) -> str:
    """Add a version of data, with its source and the inputs of its query.

    Parameters
    ----------
    graph : it is added to.
    version : as `DatasetVersion.to_dict` has it.

    Returns
    -------
    The id of its node.
    """
    uri, fingerprint = version.get("uri"), str(version.get("fingerprint"))
    number, rows = version.get("version"), version.get("rows")
    parts = [str(version.get("kind"))]
    parts += [] if number is None else [f"version {str(number)[:12]}"]
    parts += [] if rows is None else [f"{rows:,} rows"]
    name = graph.add(DATA, fingerprint, ", ".join([*parts, fingerprint[:_SHOWN]]), version)
    if uri is not None:
        base = source_of(str(uri))
        graph.join(graph.add(SOURCE, base, base), name)
    for table in (version.get("inputs") or {}).values():
        graph.join(add_data(graph, table), name, "input")
    return name


def source_of(uri: str) -> str:
    """A URI without the version behind it."""
    match = _AT.fullmatch(uri)
    return match[1] if match else uri


def add_folder(graph: Lineage, folder: Path) -> list[str]:
    """Add what a folder says of itself: a model, scores, or the output of a job.

    Parameters
    ----------
    graph : it is added to.
    folder : any.

    Returns
    -------
    The ids of what it holds; none where it says nothing.
    """
    if (folder / STRUCTURE).is_file():
        return [_add_model(graph, folder)]
    info = read_info(folder)
    if info is None:
        return []
    if info.made is not None:
        return [_add_scores(graph, folder, info.made)]
    inside = (add_folder(graph, folder / name) for name in (_MODEL, _SCORES))
    return [name for names in inside for name in names]


def _add_model(graph: Lineage, folder: Path) -> str:
    try:
        tree = artifact.read(folder)
    except ArtifactError as error:
        raise InputNotFoundError(f"{folder} cannot be read as a model: {error}") from None
    fit = tree.get("fit") or {}
    about = {"class": str(tree["estimator"].get("class", "model")).rpartition(":")[2]}
    return _model_node(graph, {**about, **fit, "path": str(folder.resolve())})


def _model_node(graph: Lineage, made: Mapping[str, Any]) -> str:
    run, data = made.get("run"), made.get("data")
    fit = {name: value for name, value in made.items() if name not in ("path", "class")}
    key = str(run or (digest(fit) if fit else made.get("path")))
    label = f"{made.get('class', 'model')} {made.get('path') or key[:_SHOWN]}"
    model = graph.add(MODEL, key, label, {"path": made.get("path"), "engine": made.get("engine")})
    before = model
    if run:
        known = graph.nodes.get(f"{RUN}:{run}")
        before = graph.add(RUN, str(run), f"run {str(run)[:_SHOWN]}" if known is None else known.label)
        graph.join(before, model)
    if data and not any(after == before for _, after, _ in graph.edges):
        graph.join(add_data(graph, data), before, "training")
    return model


def _add_scores(graph: Lineage, folder: Path, made: Mapping[str, Any]) -> str:
    path = str(folder.resolve())
    scores = graph.add(PREDICTIONS, path, path, {"by": made.get("by")})
    if made.get("model"):
        graph.join(_model_node(graph, made["model"]), scores)
    if made.get("input"):
        graph.join(add_data(graph, made["input"]), scores, "scoring")
    return scores


def matching(graph: Lineage, text: str) -> list[str]:
    """The ids of the nodes that a text names: a path, a URI, `store@alias`, `store/3`, a run's id.

    Parameters
    ----------
    graph : all.
    text : as a user writes it.
    """
    path = text if "://" in text else os.path.abspath(text)
    names = {text, path, source_of(path)}
    if text.count("@") == 1 and text.rpartition("@")[2].isdigit():
        names.add(text.replace("@", "/"))
    exact = [
        name
        for name, node in graph.nodes.items()
        if name.partition(":")[2] in names or node.facts.get("path") in names or node.facts.get("uri") == path
    ]
    if any(
        graph.nodes[name].kind == DATA and graph.nodes[name].facts.get("version") is not None
        for name in exact
    ):
        exact = [
            name for name in exact if graph.nodes[name].kind != SOURCE
        ]  # that very version, not all of them
    runs = [name for name in graph.nodes if name.startswith(f"{RUN}:{text}") and len(text) >= 6]
    return exact or runs


def _run_label(body: Mapping[str, Any], run: str) -> str:
    return f"{body.get('kind', 'run')} {body.get('name', '')} {run[:_SHOWN]}"


def _run_facts(record: Record) -> dict[str, Any]:
    body = record.body
    facts = {name: body.get(name) for name in ("kind", "name", "estimator", "parameters", "output")}
    return {**facts, "began": record.time, "by": record.by}
