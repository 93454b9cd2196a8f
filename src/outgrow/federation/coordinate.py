"""What the coordinator does: wait for the sites, lead the fit without rows of its own, hear how it went."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from outgrow._settings import is_real
from outgrow.engine.activity import activity
from outgrow.engine.dataset import Dataset, from_arrow
from outgrow.errors import ParameterError
from outgrow.federation.engine import FederatedEngine
from outgrow.federation.masks import threshold
from outgrow.federation.meeting import Look, await_sites
from outgrow.federation.site import (
    DEADLINE,
    JOINING,
    PATIENCE,
    Task,
    check_waits,
    drift_columns,
    pooled_moments,
)
from outgrow.federation.star import Coordinator
from outgrow.federation.tls import Tls
from outgrow.page.tabular import Tabular


@dataclass(frozen=True, eq=False)
class FederatedResult(Tabular):
    """A model that sites learned together, and how it does at each of them.

    Attributes
    ----------
    model : the fitted model.
    sites : by the name of each site: its `rows`, its `metrics` (none where the model cannot be evaluated on
        its rows), its `drift` (of each column of numbers, how far its mean is from that of all sites, in
        standard deviations of all), and `sent_bytes` since it was taken. One that is gone is missing.
    merges : how often statistics of all sites were merged.
    missed : by the name of a site, how many merges went on without it; of a quorum alone.
    seconds : from the first merge to the last.
    """

    model: Any
    sites: dict[str, dict[str, Any]]
    merges: int
    seconds: float
    missed: dict[str, int] = field(default_factory=dict)

    def to_arrow(self) -> pa.Table:
        """A row for each site: rows, metrics, the column whose mean is furthest from that of all, bytes."""
        rows = []
        metrics = dict.fromkeys(name for site in self.sites.values() for name in site.get("metrics", {}))
        for name, site in self.sites.items():
            column, away = max(
                site.get("drift", {}).items(), key=lambda pair: abs(pair[1]), default=(None, None)
            )
            rows.append(
                {
                    "site": name,
                    "rows": site["rows"],
                    **metrics,  # a site may have none
                    **site.get("metrics", {}),
                    "furthest_column": column,
                    "drift": away,
                    "sent_bytes": site["sent_bytes"],
                }
            )
        return pa.Table.from_pylist(rows)

    def __repr__(self) -> str:
        columns = self.to_arrow().to_pydict()
        cells = [[name, *map(_short, values)] for name, values in columns.items()]
        widths = [max(map(len, column)) for column in cells]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in zip(*cells, strict=True)
        ]
        return "\n".join(lines)


def coordinate(
    task: Task,
    names: Sequence[str],
    listener: socket.socket,
    secret: bytes,
    *,
    joining: float = JOINING,
    deadline: float = DEADLINE,
    patience: float = PATIENCE,
    look: Look = lambda: None,
    tls: Tls | None = None,
    secure: bool = False,
    quorum: float = 1.0,
) -> FederatedResult:
    """Lead the fit of a model over sites that call here.

    Parameters
    ----------
    task : what is learned.
    names : of the sites, in the order in which their statistics are merged.
    listener : the socket at which they call.
    secret : what all ends know; a caller that does not is turned away.
    joining : seconds within which all must be there.
    deadline : seconds of silence after which a site is taken for lost.
    patience : seconds within which all must finish each pass.
    look : called several times a second while sites are waited for.
    tls : the certificates with which connections are encrypted; None for none.
    secure : see only the sums over all sites.
    quorum : the share of the sites with which rounds of `og.FedAvg` go on when the rest is gone, or late by
        more than `patience`.

    Raises
    ------
    RankLostError
        When a site does not come, falls silent or leaves; it names it.
    PrivacyError
        When the fit would have a site send what may not leave it.
    """
    check_names(names)
    check_waits(joining=joining, deadline=deadline, patience=patience)
    check_quorum(quorum, secure=secure)
    if secure:
        threshold(len(names))
    with activity("federate", task.model, sites=list(names), secure=secure) as under_way:
        lines, schema = await_sites(listener, secret, names, joining, look, tls, secure=secure)
        comm = Coordinator(lines, deadline, patience, secure=secure, quorum=quorum)
        result = _led(task, schema, comm, secure=secure)
        under_way.note(rows=sum(site["rows"] for site in result.sites.values()), reports=result.sites)
    return result


def _led(task: Task, schema: bytes, comm: Coordinator, *, secure: bool) -> FederatedResult:
    began = time.perf_counter()
    try:
        rows = empty_rows(schema, comm)
        task.fit(rows)
        comm.learned = True
        if not secure:
            pooled_moments(rows, drift_columns(rows))
        comm.stage = "report"
        reports = comm.reports()
    except BaseException as error:
        comm.abort(error)
        raise
    finally:
        comm.close()
    sites = {name: {**report, "sent_bytes": comm.received[name]} for name, report in reports.items()}
    return FederatedResult(task.model, sites, comm.merges, time.perf_counter() - began, comm.missed)


def empty_rows(schema: bytes, comm: Coordinator) -> Dataset:
    """The coordinator's rows: none, of the columns that the sites have.

    Parameters
    ----------
    schema : as Arrow writes it.
    comm : of the federation.
    """
    table = pa.ipc.read_schema(pa.py_buffer(schema)).empty_table()
    return from_arrow(table, engine=FederatedEngine(comm))


def check_names(names: Sequence[str] | Mapping[str, Any]) -> None:
    """Refuse names of sites that do not tell them apart, and federations of no site."""
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if wrong or len(set(names)) < len(names) or not names:
        raise ParameterError(f"sites={list(names)}: give at least one name, each once, and none empty.")


def check_quorum(quorum: float, *, secure: bool) -> None:
    """Refuse a quorum that is none, or cannot be.

    Parameters
    ----------
    quorum : a share of the sites.
    secure : whether statistics are behind masks.
    """
    if not (is_real(quorum) and 0 < quorum <= 1):
        raise ParameterError(f"quorum={quorum!r}: a share of the sites, above 0 and at most 1.")
    if secure and quorum < 1:
        raise ParameterError("quorum and secure=True: sums behind masks are of all sites. Leave one out.")


def _short(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
