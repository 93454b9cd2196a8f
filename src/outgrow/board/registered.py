"""The models of a log and of stores: versions, moves of aliases, and on which evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from outgrow.board.kept import Kept
from outgrow.errors import ParameterError
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.registry.facts import KINDS, Facts
from outgrow.registry.store import ModelStore

EVIDENCE = ("gate.judged", "decision", "rollout.stepped")
"""What aliases are moved on the evidence of."""


@dataclass
class Moves:
    """What one log, or several, say of versions.

    Attributes
    ----------
    only : the one model that counts; None for all.
    facts : by model.
    evidence : by digest or key.
    """

    only: str | None = None
    facts: dict[str, Facts] = field(default_factory=dict)
    evidence: dict[str, Record] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """Take in a record of `KINDS` or `EVIDENCE`."""
        if record.kind in KINDS:
            if self.only in (None, record.subject):
                self.facts.setdefault(record.subject, Facts()).take(record)
            return
        self.evidence[record.digest] = record
        if "key" in record.body:  # what came of a decision says more than the decision
            self.evidence[str(record.body["key"])] = record


class Registered:
    """The facts of each model by name, kept up to date with the log and with the logs of stores.

    Parameters
    ----------
    log : of all that was done.
    stores : folders of versions.
    """

    def __init__(self, log: EventLog, stores: Sequence[str]) -> None:
        opened = [ModelStore.existing(path) for path in stores]
        self._stores = {store.name: store for store in opened}
        if len(self._stores) < len(opened):
            raise ParameterError(f"Two of the stores {list(stores)} have one name. Leave one of them out.")
        others = [store for store in opened if store.log.origin != log.origin]
        self._kept = [_kept(log), *(_kept(store.log, store.name) for store in others)]

    @contextmanager
    def now(self) -> Iterator[Moves]:
        """The facts of all models; nobody else changes them inside the block."""
        with ExitStack() as stack:
            together = Moves()
            for kept in self._kept:
                moves = stack.enter_context(kept.now())
                together.facts |= moves.facts
                together.evidence |= moves.evidence
            for name in self._stores:
                together.facts.setdefault(name, Facts())
            yield together

    def store(self, name: str) -> ModelStore | None:
        """The store of a model; None where the board was not told it."""
        return self._stores.get(name)


def _kept(log: EventLog, only: str | None = None) -> Kept[Moves]:
    return Kept(log, (*KINDS, *EVIDENCE), Moves(only), Moves.take)
