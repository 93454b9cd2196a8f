"""A job over sites that keep their rows: what the server does, and what each site does."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from outgrow.engine.handshake import listening
from outgrow.engine.local import Local
from outgrow.engine.ranks.secret import VARIABLE
from outgrow.errors import ParameterError
from outgrow.federation.coordinate import FederatedResult, coordinate
from outgrow.federation.policy import Policy
from outgrow.federation.site import Task, take_part
from outgrow.federation.tls import Tls
from outgrow.job.load import LoadedJob
from outgrow.job.record import JOB, MODEL
from outgrow.job.split import hidden, split, without
from outgrow.job.tables import open_data
from outgrow.storage import RUN, new_directory

_LEAST = 16
SITES = "sites.json"


@dataclass(frozen=True)
class Waits:
    """For how many seconds: all to come, silence of one that was there, and all to finish a pass.

    Attributes
    ----------
    quorum : the share of the sites for which rounds of `og.FedAvg` wait.
    """

    joining: float = 600.0
    deadline: float = 60.0
    patience: float = 3600.0
    quorum: float = 1.0


def serve_federation(
    loaded: LoadedJob,
    sites: Sequence[str],
    listen: str,
    *,
    tls: str | None = None,
    secure: bool = False,
    waits: Waits = Waits(),
    overwrite: bool = False,
) -> FederatedResult:
    """Lead a job over sites, and save its model and how that does at each site; no rows are read here.

    Parameters
    ----------
    loaded : the job; of its data only the target and the weight count.
    sites : the names of those that shall take part, in the order in which they are merged.
    listen : host:port at which they call.
    tls : a folder with `cert.pem`, `key.pem` and `ca.pem`, for mutual TLS; None for none.
    secure : see only the sums over all sites; they must want that, too.
    waits : how long to wait for what.
    overwrite : replace an output folder that an earlier run wrote.

    Raises
    ------
    OutputExistsError
        When the output folder exists and `overwrite` is false; before anybody is waited for.
    RankLostError
        When a site does not come, falls silent or leaves; it names it.
    """
    with new_directory(loaded.job.output, RUN, overwrite=overwrite) as folder:
        with closing(_listener(listen)) as listener:
            result = coordinate(
                _task(loaded),
                sites,
                listener,
                _secret(),
                joining=waits.joining,
                deadline=waits.deadline,
                patience=waits.patience,
                tls=_tls(tls),
                secure=secure,
                quorum=waits.quorum,
            )
        result.model.save(folder / MODEL)
        result.save(folder / SITES)
        (folder / JOB).write_text(loaded.text, encoding="utf-8")
    return result


def join_federation(
    loaded: LoadedJob,
    name: str,
    server: str,
    *,
    data: str | None = None,
    audit: str | os.PathLike[str] | None = None,
    allow_values: bool | Collection[str] = False,
    least_rows: int = 10,
    tls: str | None = None,
    secure: bool = False,
    waits: Waits = Waits(),
) -> Any:
    """Take part in a job with the rows of this site, and return the fitted model.

    Parameters
    ----------
    loaded : the job. Its `split` holds rows out here, on which the model is evaluated.
    name : of this site, as the server expects it.
    server : host:port of the server; the only connection there is, and it goes outward.
    data : a path in place of the job's `data.path`.
    audit : the file to which a line is appended for each message that leaves.
    allow_values, least_rows : what may leave; see `og.federated`.
    tls : a folder with `cert.pem`, `key.pem` and `ca.pem`, for mutual TLS; None for none.
    secure : send statistics behind masks only; the server must want that, too.
    waits : how long to wait for what.

    Raises
    ------
    PrivacyError
        When the fit would have this site send what may not leave it.
    """
    if data is not None:
        described = loaded.job.data.model_copy(
            update={"path": os.path.abspath(data), "tables": {}, "query": None, "query_file": None}
        )
        loaded = replace(loaded, job=loaded.job.model_copy(update={"data": described}))
    rows = open_data(loaded, Local())
    train, test = split(rows, loaded.job)
    return take_part(
        _task(loaded),
        without(train, hidden(loaded.job), loaded.job),
        name,
        _address(server),
        _secret(),
        policy=Policy(allow_values, least_rows),
        audit=audit,
        judged=test,
        tls=_tls(tls),
        secure=secure,
        joining=waits.joining,
        deadline=waits.deadline,
    )


def _task(loaded: LoadedJob) -> Task:
    return Task(loaded.pipeline, loaded.job.target, loaded.job.weight)


def _secret() -> bytes:
    given = os.environ.get(VARIABLE, "")
    if len(given) < _LEAST:
        raise ParameterError(
            f"{VARIABLE} has fewer than {_LEAST} characters. Server and sites know each other by it: set it "
            f"at all of them to the same text, made once with: openssl rand -hex 32"
        )
    return given.encode()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65_536:
        raise ParameterError(f"{text!r} is no address. Give host:port, such as coordinator.example:7070.")
    return host.strip("[]"), int(port)


def _listener(text: str) -> Any:
    address = _address(text)
    try:
        return listening(*address)
    except OSError as error:
        raise ParameterError(
            f"Nobody can listen at {text}: {error}. Choose another port or address."
        ) from error


def _tls(folder: str | None) -> Tls | None:
    return None if folder is None else Tls.of(folder)
