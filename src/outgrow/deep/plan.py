"""The pieces of a dataset and how many rows each has: what an order is made of before a row is read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np

from outgrow.data.scan import Scan, ScanPiece
from outgrow.errors import DataError

_KEPT = 64
_counted: dict[str, np.ndarray] = {}
_lock = Lock()


@dataclass(frozen=True, eq=False)
class Plan:
    """What is read in an epoch.

    Attributes
    ----------
    pieces : in the order of the dataset.
    rows : int64; how many rows each gives.
    nbytes : about how much memory all rows take.
    """

    pieces: list[ScanPiece]
    rows: np.ndarray
    nbytes: int

    @property
    def row_bytes(self) -> int:
        """About how many bytes a row takes, at least 1."""
        return max(1, self.nbytes // max(1, int(self.rows.sum())))


def plan_of(scan: Scan, wanted: Scan, threads: int) -> Plan:
    """The plan of a scan, for which rows are counted once where a footer does not tell.

    Parameters
    ----------
    scan : the rows.
    wanted : the same rows with the columns that will be read.
    threads : that count at once.

    Raises
    ------
    DataError
        When there is no row.
    """
    pieces = wanted.pieces()
    rows = _rows(scan, pieces, threads)
    if not rows.sum():
        raise DataError(
            f"There are no rows in {len(pieces)} piece(s) of the dataset. Look at its conditions and files."
        )
    kept = rows > 0
    pieces = [piece for piece, keep in zip(pieces, kept, strict=True) if keep]
    return Plan(pieces, rows[kept], sum(piece.nbytes for piece in pieces))


def _rows(scan: Scan, pieces: list[ScanPiece], threads: int) -> np.ndarray:
    known = [piece.known_rows for piece in pieces]
    if None not in known:
        return np.array(known, dtype=np.int64)
    key = scan.describe()["sha256"]
    with _lock:
        if key not in _counted:
            if len(_counted) >= _KEPT:
                _counted.pop(next(iter(_counted)))
            with ThreadPoolExecutor(threads) as pool:
                counts = pool.map(_count, _narrow(scan).pieces())
                _counted[key] = np.array(list(counts), dtype=np.int64)
        return _counted[key]


def _narrow(scan: Scan) -> Scan:
    """The same rows with one column, the cheapest to read."""
    fields = sorted(scan.schema, key=lambda field: _bits(field.type))
    return scan.select([fields[0].name])


@lru_cache
def _bits(kind: object) -> int:
    try:
        return int(kind.bit_width)  # type: ignore[attr-defined]
    except ValueError:  # of any length
        return 1 << 20


def _count(piece: ScanPiece) -> int:
    return sum(batch.num_rows for batch in piece.batches())
