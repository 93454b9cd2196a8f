"""Where the workers of a search get their trials: the driver's side of their connections."""

from __future__ import annotations

import math
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from outgrow.engine.events import Event, emit
from outgrow.engine.handshake import HandshakeListener
from outgrow.errors import ParameterError
from outgrow.tuning.channel import Channel, Message
from outgrow.tuning.scores import complaint, pick
from outgrow.tuning.study import RunningTrial, Study, row_of

STAGE = "tune"


@dataclass(frozen=True)
class Limits:
    """When a search ends.

    Attributes
    ----------
    trials : how many are done, pruned or failed, those of earlier runs included.
    seconds : how long this run lasts; trials under way are finished.
    patience : how many trials in a row bring nothing better.
    """

    trials: int | None = None
    seconds: float | None = None
    patience: int | None = None


@dataclass
class Progress:
    """How far a search is, and whether it should end."""

    study: Study
    limits: Limits
    metrics: Sequence[str]
    callback: Callable[[Any], None] | None = None
    began: float | None = None

    def __post_init__(self) -> None:
        self.finished = len(self.study.finished)
        self.since_best = 0
        self._best = self._value()

    def over(self, under_way: int = 0) -> bool:
        """Whether no further trial should begin."""
        limits = self.limits
        return (
            (limits.trials is not None and self.finished + under_way >= limits.trials)
            or (limits.seconds is not None and self.elapsed >= limits.seconds)
            or (limits.patience is not None and self.since_best >= limits.patience)
        )

    @property
    def elapsed(self) -> float:
        """Seconds since the first trial of this run began."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    def ask(self) -> RunningTrial:
        """The next trial."""
        self.began = time.monotonic() if self.began is None else self.began
        return self.study.ask()

    def count(self, ended: RunningTrial, note: str | None = None) -> None:
        """A trial has ended.

        Parameters
        ----------
        ended : the trial.
        note : what a person should read of it.
        """
        self.finished += 1
        value = self._value()
        self.since_best = 0 if value != self._best else self.since_best + 1
        self._best = value
        if self.callback is not None:
            self.callback(self.study.study)
        trial = self.study.study.get_trials(deepcopy=False)[ended.number]
        emit(
            Event(
                STAGE,
                "trial",
                self.finished,
                self.limits.trials,
                elapsed=self.elapsed,
                loss=value[0] if value else None,
                note=note,
                details=row_of(trial, self.metrics),
            )
        )

    def _value(self) -> tuple[float, ...]:
        """The best values so far; what changes when something better was found."""
        study = self.study.study
        if len(self.metrics) == 1:
            try:
                return (float(study.best_value),)
            except ValueError:
                return ()
        return tuple(value for trial in study.best_trials for value in trial.values)


class TrialServer:
    """Listens for workers, gives them trials, and tells the study what became of them.

    Attributes
    ----------
    address : where workers call.
    secret : what they must know.
    readers : workers whose machine read the rows for them: one a machine.
    """

    def __init__(self, study: Study, progress: Progress, host: str, silence: float) -> None:
        self.study = study
        self.progress = progress
        self.secret = secrets.token_bytes(32)
        self.readers: list[int] = []
        self.failure: Exception | None = None
        self._silence = silence
        self._server = socket.create_server((host, 0))
        self.address: tuple[str, int] = self._server.getsockname()[:2]
        self._changed = threading.Condition()
        self._running: dict[Channel, RunningTrial] = {}
        self._channels: set[Channel] = set()
        self._closed = False
        self._last_heard = time.monotonic()

    def __enter__(self) -> TrialServer:
        threading.Thread(target=self._listen, name="outgrow trials", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.close()

    def wait(self, seconds: float) -> bool:
        """Wait until the search is over, for a while; whether it is."""
        with self._changed:
            return self._changed.wait_for(self._over, seconds)

    def abandon(self) -> None:
        """Send all workers away, whatever they do."""
        with self._changed:
            self._closed = True
            for channel in list(self._channels):
                channel.abort("the search was stopped")
            self._changed.notify_all()

    def idle_seconds(self) -> float:
        """For how long there has been no worker at all."""
        with self._changed:
            return 0.0 if self._channels else time.monotonic() - self._last_heard

    def _over(self) -> bool:
        return self.failure is not None or (not self._running and self.progress.over())

    def _listen(self) -> None:
        with HandshakeListener(self._server, self.secret) as callers:
            while not self._closed:
                try:
                    caller = callers.next(time.monotonic() + 0.2)
                except TimeoutError:
                    continue
                except OSError:
                    return
                threading.Thread(target=self._serve, args=caller, daemon=True).start()

    def _serve(self, number: int, peer: socket.socket) -> None:
        """One worker, until it leaves."""
        reasons: list[str] = []
        channel = Channel(peer, number, self._silence, reasons.append)
        with self._changed:
            self._channels.add(channel)
        try:
            while (message := channel.receive()) is not None:
                self._take(channel, number, message)
        except Exception as error:  # of the study, or of the callback: no other trial would change it
            self._give_up(error)
        finally:
            self._leave(channel, number, reasons)
            channel.close()

    def _leave(self, channel: Channel, number: int, reasons: Sequence[str]) -> None:
        with self._changed:
            self._channels.discard(channel)
            self._last_heard = time.monotonic()
            running = self._running.pop(channel, None)
            try:
                if running is not None and not self._closed:
                    self._lost(running, number, reasons)
            except Exception as error:
                self.failure = error
            self._changed.notify_all()

    def _take(self, channel: Channel, number: int, message: Message) -> None:
        kind = message["kind"]
        with self._changed:
            if kind == "report":
                prune = self.study.report(self._running[channel], message["value"], message["step"])
                channel.send(kind="verdict", prune=prune)
                return
            if kind == "ready":
                if message["read"]:
                    self.readers.append(number)
            else:
                self._end(self._running.pop(channel), message)
                self._changed.notify_all()
            if not message.get("leaves"):
                self._give(channel)

    def _give(self, channel: Channel) -> None:
        """The next trial for a worker, or leave."""
        self._changed.wait_for(lambda: self._may_begin() or self._over() or self._closed)
        if self._closed or self._over():
            channel.send(kind="stop")
            return
        running = self.progress.ask()
        self._running[channel] = running
        channel.send(kind="trial", number=running.number, parameters=running.parameters)

    def _may_begin(self) -> bool:
        return not self.progress.over(len(self._running))

    def _end(self, running: RunningTrial, message: Message) -> None:
        kind, note = message["kind"], None
        if kind == "done":
            note = settle(self.study, running, message["values"], message["details"], self.progress.metrics)
        elif kind == "pruned":
            self.study.prune(running, {"seconds": message["seconds"]})
        else:
            self.study.fail(running, message["error"])
            note = f"Trial {running.number} failed: {message['error'].splitlines()[0]}"
        self.progress.count(running, note)

    def _lost(self, running: RunningTrial, number: int, reasons: Sequence[str]) -> None:
        reason = f"Its worker {number} {reasons[0] if reasons else 'left'}."
        if self.study.lose(running, reason):
            emit(Event(STAGE, "retry", 1, note=f"Trial {running.number} is tried again. {reason}"))
        else:
            self.progress.count(running, f"Trial {running.number} failed. {reason}")

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            self.failure = error
            self._changed.notify_all()


def settle(
    study: Study, running: RunningTrial, scores: Any, details: dict[str, Any], metrics: Sequence[str]
) -> str | None:
    """Tell the study the result of a trial.

    Parameters
    ----------
    study : gets the values, or why there are none.
    running : the trial, as the study gave it.
    scores : metrics by name; or values in the order of `metrics`.
    details : what else is noted; its `fit_seconds` is a metric, too. Metrics by name are noted beside them.
    metrics : the names that the study looks at.

    Returns
    -------
    What a person should read when the values cannot be compared; else None.

    Raises
    ------
    ParameterError
        When a metric is not defined, which no other trial would change.
    """
    try:
        values = _values(scores, details, metrics)
    except ParameterError as error:
        study.fail(running, str(error))
        raise
    wrong = complaint(values)
    if wrong is not None:
        study.fail(running, wrong)
        return f"Trial {running.number} failed: {wrong}"
    study.tell(running, values, {**details, "metrics": scores} if isinstance(scores, dict) else details)
    return None


def _values(scores: Any, details: dict[str, Any], metrics: Sequence[str]) -> list[float]:
    if isinstance(scores, dict):
        return pick({**scores, "fit_seconds": details.get("fit_seconds", math.nan)}, metrics)
    if len(scores) != len(metrics):
        raise ParameterError(
            f"The function returned {len(scores)} values, and metric names {len(metrics)}: {list(metrics)}. "
            "Return as many."
        )
    return list(scores)
