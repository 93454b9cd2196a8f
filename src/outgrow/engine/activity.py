"""Work that is worth a record: a fit, a job, a search. Who keeps records observes it; else it costs nothing.

Work inside other work, such as the folds of a search, has it as its parent: observers see which is which.
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Protocol, Self

from outgrow.engine.events import hears
from outgrow.errors import LogWarning


class Observer(Protocol):
    """Is told of work; what it raises is a warning and ends nothing."""

    def began(self, activity: Activity) -> None:
        """Work begins; its parent, if any, is under way."""

    def noted(self, activity: Activity, facts: dict[str, Any]) -> None:
        """Facts were learned on the way.

        Parameters
        ----------
        activity : what is under way; it has the facts by now.
        facts : the new ones.
        """

    def ended(self, activity: Activity, error: BaseException | None) -> None:
        """Work ended.

        Parameters
        ----------
        activity : what was done, with its facts.
        error : what ended it; None where it is done.
        """


class Activity:
    """Something that is done, from its beginning to its end; a context manager.

    Parameters
    ----------
    kind : 'fit', 'run', 'tune', 'score', 'serve', 'federate', 'evaluate' or 'cross_validate'.
    what : the estimator it is about, or its name.
    data : the `Dataset` it is done with; None where there is none.
    parent : the work that it is a part of.
    facts : what is known of it.

    Attributes
    ----------
    id : 32 hexadecimal digits that no other work has.
    began : when, by `time.perf_counter`.
    """

    def __init__(
        self, kind: str, what: Any, data: Any, parent: Activity | None, facts: dict[str, Any]
    ) -> None:
        self.id = uuid.uuid4().hex
        self.kind, self.what, self.data, self.parent, self.facts = kind, what, data, parent, facts
        self.began = time.perf_counter()
        self._token: Token[Activity | None] | None = None

    @property
    def root(self) -> Activity:
        """The work of which all this is a part."""
        return self if self.parent is None else self.parent.root

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.perf_counter() - self.began

    def note(self, **facts: Any) -> None:
        """Add facts that were learned on the way: `rows`, `metrics`, `data`, ..."""
        self.facts.update(facts)
        for observer in tuple(_observers):
            _tell(observer.noted, self, facts)

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        for observer in tuple(_observers):
            _tell(observer.began, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for observer in tuple(_observers):
            _tell(observer.ended, self, error)
        if self._token is not None:
            _current.reset(self._token)


class _Unobserved:
    """Stands for work that nobody observes."""

    id = None

    def note(self, **facts: Any) -> None:
        """Nobody takes note."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


_UNOBSERVED = _Unobserved()
_observers: list[Observer] = []
_starters: list[Callable[[], None]] = []
"""Called once, before the first work of this process."""
_current: ContextVar[Activity | None] = ContextVar("activity", default=None)


def activity(kind: str, what: Any, *, data: Any = None, **facts: Any) -> Activity | _Unobserved:
    """Work that begins: `with activity("fit", model, data=rows) as fit: ...`.

    Parameters
    ----------
    kind, what, data : as of `Activity`.
    **facts : what is known of it; cheap to give, since mostly nobody asks.
    """
    while _starters:
        _starters.pop()()
    if not _observers or not hears():
        return _UNOBSERVED
    return Activity(kind, what, data, _current.get(), facts)


def before_first(starter: Callable[[], None]) -> None:
    """Have a function called before the first work begins: what it needs is not loaded until then."""
    _starters.append(starter)


def current() -> Activity | None:
    """What this thread is doing."""
    return _current.get()


def seen(data: Any, fingerprint: dict[str, Any] | None = None) -> None:
    """Note that what is under way reads rows.

    Parameters
    ----------
    data : the `Dataset`.
    fingerprint : its fingerprint, where somebody has asked for it before.
    """
    under_way = _current.get()
    if under_way is not None:
        under_way.note(data=data, fingerprint=fingerprint)


def paced(stage: str, ranks: Sequence[Mapping[str, Any]]) -> None:
    """Note what each rank did in a fit that is part of what is under way.

    Parameters
    ----------
    stage : the fit, as its events call it.
    ranks : as `outgrow.engine.rank_paces.Pace`.
    """
    under_way = _current.get()
    if under_way is not None:
        under_way.note(stage=stage, ranks=ranks)


def checked(report: Any) -> None:
    """Note that rows were held against what is expected of them.

    Parameters
    ----------
    report : what came of it, as `outgrow.expectations` gives it; None for nothing.
    """
    under_way = _current.get()
    if under_way is not None and report is not None:
        under_way.note(checked=report.to_dict())


def observe(observer: Observer) -> None:
    """Tell an observer of all work from now on."""
    if observer not in _observers:
        _observers.append(observer)


def leave(observer: Observer) -> None:
    """Tell an observer no more."""
    if observer in _observers:
        _observers.remove(observer)


def _tell(method: Any, *arguments: Any) -> None:
    try:
        method(*arguments)
    except Exception as error:
        warnings.warn(f"Work is not recorded: {type(error).__name__}: {error}", LogWarning, stacklevel=3)
