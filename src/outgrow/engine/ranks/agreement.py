"""Whether all ranks are about to do the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from outgrow.artifact import pack
from outgrow.data.duck import QuerySource
from outgrow.data.scan import Scan, ScanPiece
from outgrow.data.source import ArraySource, TableSource
from outgrow.engine.collective import Communicator
from outgrow.engine.journal import Identity
from outgrow.errors import ParameterError


@dataclass(frozen=True)
class Agreement:
    """What one rank is about to do.

    Attributes
    ----------
    fit : which fit, and of what, as a person would call it.
    columns : names and types of the rows.
    settings : a digest of the estimator's.
    rows : a digest of what there is to read; '' where each rank brings its own rows.
    """

    fit: str
    columns: str
    settings: str
    rows: str

    @classmethod
    def of(
        cls, stage: str, scan: Scan, pieces: list[ScanPiece], identity: Identity | None, *, same_rows: bool
    ) -> Agreement:
        """That of this rank.

        Parameters
        ----------
        stage : as messages call the fit.
        scan : its rows.
        pieces : of the scan.
        identity : tells what is fitted, and how.
        same_rows : whether all ranks must see the same.
        """
        columns = ", ".join(f"{field.name}: {field.type}" for field in scan.schema)
        settings = "" if identity is None else hashlib.sha256(pack(identity())).hexdigest()[:16]
        return cls(stage, columns, settings, _digest(scan, pieces) if same_rows else "")


def checked(comm: Communicator, own: Agreement) -> None:
    """Refuse a fit in which ranks do not do the same: each would wait for the others, or sum unlike things.

    Parameters
    ----------
    comm : all ranks call this together.
    own : what this one is about to do.

    Raises
    ------
    ParameterError
        On every rank; it names the first rank that differs from rank 0, and in what.
    """
    every = [json.loads(said) for said in comm.gather(json.dumps(asdict(own)).encode())]
    for rank, other in enumerate(every):
        for name, text in _WORDS.items():
            if other[name] != every[0][name]:
                shown = f": {other[name]} and {every[0][name]}" if name in ("fit", "columns") else ""
                raise ParameterError(f"Rank {rank} and rank 0 {text}{shown}.")


_WORDS = {
    "fit": "do not do the same. Each process must run the same script with the same arguments",
    "columns": "have rows of other columns",
    "settings": "have other settings of the estimator. Give all the same, random_state too",
    "rows": "read other rows. All must name the same files, or hold the same table; a query needs an ORDER "
    "BY. Rows that each rank has for itself are rows='own'",
}


def _digest(scan: Scan, pieces: list[ScanPiece]) -> str:
    """Of rows in memory their values, of others what is known of their pieces."""
    source = scan.source.held if isinstance(scan.source, QuerySource) else scan.source
    sizes: list[Any] = [[piece.nbytes, piece.known_rows] for piece in pieces]
    if isinstance(source, TableSource | ArraySource):
        sizes.append(source.describe()["sha256"])
    return hashlib.sha256(json.dumps([sizes, len(scan.steps)]).encode()).hexdigest()[:16]
