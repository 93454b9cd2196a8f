"""Which rows of a scan each rank reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from outgrow.data.duck import QuerySource
from outgrow.data.scan import Scan, ScanPiece
from outgrow.data.source import ArraySource, TableSource


def share_out(pieces: Sequence[ScanPiece], parts: int) -> list[list[ScanPiece]]:
    """Pieces in their order, cut into runs of about equal bytes; some may be empty.

    Parameters
    ----------
    pieces : of a scan.
    parts : how many runs.
    """
    total = sum(piece.nbytes for piece in pieces) or 1
    runs: list[list[ScanPiece]] = [[] for _ in range(parts)]
    done = 0.0
    for piece in pieces:
        middle = done + piece.nbytes / 2
        runs[min(parts - 1, int(middle / total * parts))].append(piece)
        done += piece.nbytes
    return runs


def cut_for(scan: Scan, parts: int) -> Scan:
    """The scan with rows that are in memory in pieces so small that there is one for each part.

    Parameters
    ----------
    scan : rows of files stay in the pieces that their files have.
    parts : how many are wanted; of fewer rows there are fewer.
    """
    source = scan.source.held if isinstance(scan.source, QuerySource) else scan.source
    if isinstance(source, TableSource):
        rows = source.table.num_rows
    elif isinstance(source, ArraySource):
        rows = source.values.shape[0]
    else:
        return scan
    return replace(scan, source=replace(source, piece_rows=max(1, min(source.piece_rows, -(-rows // parts)))))
