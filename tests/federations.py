"""Federations whose ends are threads here, and everything that a site sends."""

from __future__ import annotations

import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.engine.dataset import Dataset, from_arrow
from outgrow.engine.local import Local
from outgrow.federation.audit import AuditLog
from outgrow.federation.coordinate import empty_rows
from outgrow.federation.engine import FederatedEngine
from outgrow.federation.policy import Policy
from outgrow.federation.star import Coordinator, SiteLink


@dataclass
class Federation:
    """What came of one.

    Attributes
    ----------
    model : what the coordinator has; `site_models` are those of the sites.
    errors : of the ends that failed, by rank.
    sent : every byte that left a site, by site.
    """

    model: Any = None
    site_models: list[Any] = field(default_factory=list)
    errors: dict[int, BaseException] = field(default_factory=dict)
    sent: list[bytearray] = field(default_factory=list)
    missed: dict[str, int] = field(default_factory=dict)


def federate(
    fit: Callable[[Dataset], Any],
    tables: list[pa.Table],
    policy: Policy | None = None,
    *,
    secure: bool = False,
    patience: float = 60,
    quorum: float = 1.0,
) -> Federation:
    """Run `fit` at a coordinator without rows and at a site for each table."""
    found = Federation(site_models=[None] * len(tables))
    near, far = zip(*(_recorded(found) for _ in tables), strict=True)
    schema = tables[0].schema.serialize().to_pybytes()

    def coordinator() -> None:
        comm = Coordinator(
            [(f"site-{rank}", line) for rank, line in enumerate(far, 1)],
            20,
            patience,
            secure=secure,
            quorum=quorum,
        )
        _end(comm, found, lambda: setattr(found, "model", fit(empty_rows(schema, comm))))
        found.missed = comm.missed

    def site(number: int) -> None:
        link = SiteLink(
            near[number],
            number + 1,
            len(tables) + 1,
            f"site-{number + 1}",
            policy or Policy(),
            AuditLog(),
            20,
            secure=secure,
        )
        rows = Dataset(from_arrow(tables[number]).scan, FederatedEngine(link, Local(threads=1)))
        _end(link, found, lambda: found.site_models.__setitem__(number, fit(rows)))

    threads = [threading.Thread(target=coordinator)]
    threads += [threading.Thread(target=site, args=(number,)) for number in range(len(tables))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def canaries(table: pa.Table) -> Iterator[tuple[str, bytes]]:
    """The values of a table that stand for the rows they are in, in each form in which they could leave."""
    yield from _pairs(table)
    for name in table.column_names:
        for value in table[name].to_pylist():
            if isinstance(value, float) and np.isfinite(value) and value != round(value, 2):
                yield name, np.float64(value).tobytes()
                yield name, repr(value)[:12].encode()
            elif isinstance(value, str) and len(value) > 8:
                yield name, value.encode()


def _pairs(table: pa.Table) -> Iterator[tuple[str, bytes]]:
    """Neighbours in a column and in a row as float32: four bytes alone are met by chance, eight are not."""
    numbers = [name for name in table.column_names if pa.types.is_floating(table[name].type)]
    values = np.array([table[name].to_numpy() for name in numbers], dtype=np.float32).reshape(-1, len(table))
    for name, column in zip(numbers, values, strict=True):
        yield from ((name, column[row : row + 2].tobytes()) for row in range(len(column) - 1) if column[row])
    for row in values.T:
        if len(row) > 1 and row[0] != np.rint(row[0]):
            yield numbers[0], row[:2].tobytes()


def leaked(found: Federation, tables: list[pa.Table]) -> set[str]:
    """The columns of which a value is in what its site sent."""
    return {
        name
        for sent, table in zip(found.sent, tables, strict=True)
        for name, canary in canaries(table)
        if canary in sent
    }


def _end(comm: Any, found: Federation, work: Callable[[], Any]) -> None:
    try:
        work()
    except BaseException as error:
        found.errors[comm.rank] = error
        comm.abort(error)
    finally:
        comm.close()


def _recorded(found: Federation) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection, through which all that goes from the first to the second is recorded."""
    near, inner = _pair()
    outer, far = _pair()
    sent = bytearray()
    found.sent.append(sent)
    threading.Thread(target=_copy, args=(inner, outer, sent), daemon=True).start()
    threading.Thread(target=_copy, args=(outer, inner, None), daemon=True).start()
    return near, far


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        return near, listener.accept()[0]


def _copy(source: socket.socket, target: socket.socket, record: bytearray | None) -> None:
    try:
        while part := source.recv(1 << 16):
            if record is not None:
                record += part
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        target.close()
