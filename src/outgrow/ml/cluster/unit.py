"""Rows that count by their direction alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError


def unit_rows(X: Any) -> Any:
    """Rows divided by their lengths; those of zeros stay.

    Parameters
    ----------
    X : shape (rows, width), dense or CSR.
    """
    largest, lengths = _lengths(X)
    divisor = np.where(lengths > 0, lengths, 1.0)
    scale = np.where(largest > 0, largest, 1.0)
    if is_sparse(X):
        return sp.csr_array(sp.diags_array(1.0 / divisor) @ (sp.diags_array(1.0 / scale) @ X))
    return np.asarray(X, dtype=np.float64) / scale[:, None] / divisor[:, None]


def directions(view: MatrixView) -> MatrixView:
    """The rows of a view with length 1, copied.

    Parameters
    ----------
    view : all ranks call this.

    Raises
    ------
    DataError
        When rows have no direction.
    """
    _check(int(view.reduce(_without)[0]))
    return view.changed(unit_rows)


def checked_directions(X: Any) -> Any:
    """The rows of a matrix with length 1.

    Parameters
    ----------
    X : shape (rows, width), dense or CSR.

    Raises
    ------
    DataError
        When rows have no direction.
    """
    _check(int((_lengths(X)[0] == 0).sum()))
    return unit_rows(X)


def _check(without: int) -> None:
    if without:
        raise DataError(
            f"{without} row(s) hold nothing but zeros: they have no direction, by which spherical=True goes. "
            "Leave them out, or set spherical=False."
        )


def _without(block: Block) -> np.ndarray:
    return np.array([int((_lengths(block.X)[0] == 0).sum())])


def _lengths(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """The largest number of each row, and the length of the row divided by it: squares do not overflow."""
    if is_sparse(X):
        largest = np.asarray(abs(X).max(axis=1).toarray(), dtype=np.float64).ravel()
        X = sp.diags_array(1.0 / np.where(largest > 0, largest, 1.0)) @ X
        return largest, np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())
    largest = np.abs(X).max(axis=1, initial=0.0)
    X = X / np.where(largest > 0, largest, 1.0)[:, None]
    return largest, np.sqrt(np.einsum("ij,ij->i", X, X))
