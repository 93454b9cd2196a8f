"""The same rows on different engines and partitionings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from sklearn.base import clone

from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.ml.core.estimator import Estimator
from outgrow.testing.fits import Fits, fit_key
from outgrow.testing.rows import fitted


@dataclass(frozen=True)
class EngineCase:
    """A way to hold rows.

    Attributes
    ----------
    name : for the test's id.
    open : makes a dataset of an Arrow table.
    fits : what was learned from its rows already.
    """

    name: str
    open: Callable[[pa.Table], Dataset]
    fits: Fits = field(default_factory=Fits, compare=False)

    def __repr__(self) -> str:
        return self.name

    @property
    def one_piece(self) -> EngineCase:
        """This machine, all rows in one piece; what is learned there is kept with what is learned here."""
        return EngineCase("one piece", local_case().open, self.fits)

    def fitted(self, estimator: Estimator, table: pa.Table, target: str | None) -> Any:
        """A clone of the estimator after `fit`; checks that ask for the same one get the same one.

        Parameters
        ----------
        estimator : not fitted.
        table : the rows to open here and to learn from.
        target : the column to learn; None for estimators without one.
        """
        key = fit_key(self.name, estimator, table, target)
        return self.fits.model(key, lambda: fitted(clone(estimator), self.open(table), target))


def local_case() -> EngineCase:
    """This machine, all rows in one piece, one thread."""
    return EngineCase("local", lambda table: Dataset(Scan(TableSource(table)), Local(threads=1)))


def pieces_case(pieces: int, threads: int = 2) -> EngineCase:
    """This machine, the rows in several pieces.

    Parameters
    ----------
    pieces : how many; fewer where there are fewer rows.
    threads : that read them.
    """

    def open_pieces(table: pa.Table) -> Dataset:
        rows = max(1, -(-table.num_rows // pieces))
        return Dataset(Scan(TableSource(table, rows)), Local(threads=threads))

    return EngineCase(f"local-{pieces}-pieces", open_pieces)
