"""Numbers of vectors by their places or names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.engine.shard import Shard
from outgrow.errors import ColumnNotFoundError, ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, Integer, Such
from outgrow.ml.core.task import Task
from outgrow.ml.feature_selection.base import Selection

_PLACE = Integer(low=0)


def _are_places(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray) and all(place in _PLACE for place in value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


class VectorSlicer(Selection):
    """Keep some of the numbers of vectors, or of columns of numbers, by their places or names.

    What is kept stays in the order it has.

    Parameters
    ----------
    indices : places among the numbers of all columns it looks at, vectors spelt out; None for none.
    names : names of numbers; those of a vector `v` are `v_0`, `v_1` and so on, or what the step before called
        them, as `get_feature_names_out` tells. None for none.
    columns : which columns it looks at, by name or selector; all by default. Others stay.

    Attributes
    ----------
    support_ : ndarray of bool, of shape (n_columns,): which numbers are kept, vectors spelt out.
    input_names_ : list of their names.

    Raises
    ------
    ParameterError
        At `fit`, when nothing is named, or a place is not there.
    ColumnNotFoundError
        At `fit`, when a name is not there.

    Notes
    -----
    Unlike Spark MLlib's `VectorSlicer(inputCol, outputCol, indices, names)`: takes the place of the vector,
    and keeps the order of its numbers, whatever the order of `indices`; a number may be named twice.

    Unlike Spark MLlib's `VectorSizeHint(size)`: the width of a vector is part of its type, and vectors of
    another are refused; no step has to say it.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.VectorSlicer(indices=[0, 2]).fit_transform(np.array([[1.0, 2.0, 3.0]])).tolist()
    [[1.0, 3.0]]
    """

    learns_nothing = True
    takes_missing = True
    test_parameters = {"indices": [0]}
    parameters = {
        "indices": Such("a list of whole numbers of at least 0", _are_places) | None,
        "names": Such("a list of names", _are_names) | None,
        "columns": COLUMNS,
    }
    places_: np.ndarray

    def __init__(
        self,
        indices: Sequence[int] | None = None,
        *,
        names: Sequence[str] | None = None,
        columns: Columns = None,
    ) -> None:
        self.indices = indices
        self.names = names
        self.columns = columns

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        known = {name: place for place, name in enumerate(self.input_names_)}
        indices = [] if self.indices is None else list(map(int, self.indices))
        wanted = list(self.names or ())
        if not indices and not wanted:
            raise ParameterError("VectorSlicer keeps nothing. Give indices or names.")
        if missing := [name for name in wanted if name not in known]:
            raise ColumnNotFoundError(f"No number {missing[0]!r} among {self.input_names_[:10]}.")
        if beyond := [place for place in indices if place >= len(known)]:
            raise ParameterError(
                f"VectorSlicer(indices={list(indices)}): there is no place {beyond[0]} among {len(known)}. "
                f"Places go from 0 to {len(known) - 1}."
            )
        self.places_ = np.unique([*indices, *(known[name] for name in wanted)]).astype(np.int64)

    def _chosen(self) -> np.ndarray:
        kept = np.zeros(len(self.input_names_), dtype=bool)
        kept[self.places_] = True
        return kept
