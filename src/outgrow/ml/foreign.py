"""Estimators of scikit-learn as bytes, by skops: a zip of JSON and arrays, and never a pickle.

Reading them builds objects of the types that skops knows to be harmless, and of no others, unless the bytes
were written by this session.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from sklearn.base import BaseEstimator

from outgrow._optional import optional
from outgrow.errors import ArtifactError

_one_at_a_time = Lock()
"""NumPy reads headers of arrays with `ast`, which fails in Python 3.11 when threads do it side by side."""
_own = ContextVar("own", default=False)


@contextmanager
def own_session(own: bool = True) -> Iterator[None]:
    """What is read inside the block was written by this session, or sent by it to its own cluster."""
    token = _own.set(own)
    try:
        yield
    finally:
        _own.reset(token)


def is_own() -> bool:
    """Whether what is read now is this session's own."""
    return _own.get()


def is_foreign(value: Any) -> bool:
    """Whether this is an estimator that is not ours."""
    return isinstance(value, BaseEstimator) and not type(value).__module__.startswith("outgrow.")


def dump(estimator: Any) -> bytes:
    """An estimator as bytes.

    Raises
    ------
    ArtifactError
        When skops cannot write it.
    MissingExtraError
        When skops is not installed.
    """
    try:
        return bytes(_skops().dumps(estimator))
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise ArtifactError(
            f"A {type(estimator).__name__} cannot be saved: {error}. Use an estimator of outgrow, or one of "
            "scikit-learn that skops can write."
        ) from error


def load(payload: bytes, *, trusted: bool = False) -> Any:
    """The estimator that `dump` was given.

    Parameters
    ----------
    payload : what skops wrote.
    trusted : whether types that are not known to be harmless are loaded as well, as always within
        `own_session`.

    Raises
    ------
    ArtifactError
        When the bytes name types that are not known to be harmless, and are not `trusted`.
    """
    unknown = _skops().get_untrusted_types(data=payload)
    if not trusted and not is_own():
        _refuse(unknown, "It was not loaded")
    with _one_at_a_time:
        return _skops().loads(payload, trusted=unknown)


def check_loadable(payload: bytes) -> None:
    """Refuse what another session would not load.

    Raises
    ------
    ArtifactError
        When the bytes name types that are not known to be harmless.
    """
    _refuse(_skops().get_untrusted_types(data=payload), "It was not saved")


def _refuse(unknown: list[str], what: str) -> None:
    if unknown:
        raise ArtifactError(
            f"The model holds objects of types that skops does not know to be harmless: {unknown}. {what}. "
            "Use estimators of outgrow, or others of scikit-learn."
        )


def _skops() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what skops finds in other libraries when it is imported
        return optional("skops.io", "groups")
