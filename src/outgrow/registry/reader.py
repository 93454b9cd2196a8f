"""What can be read of a store: its versions, its aliases now and then, and who moved them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

from outgrow import pointers
from outgrow.data.spans import moment as parsed_time
from outgrow.errors import InputNotFoundError, LogError, ParameterError
from outgrow.log.event_log import EventLog
from outgrow.ml.persistence import load
from outgrow.pointers import CHAMPION, Pointer
from outgrow.registry.facts import Move, VersionInfo
from outgrow.registry.state import StoreState


class StoreReader:
    """The part of a `ModelStore` that changes nothing; see there for the parameters."""

    def __init__(
        self, path: str | os.PathLike[str], log: EventLog | str | None = None, *, name: str | None = None
    ) -> None:
        self.path = Path(path).expanduser()
        given = EventLog(log) if isinstance(log, str) else log
        self._state = StoreState(self.path, given, name)
        self._check_log(given)

    @classmethod
    def existing(cls, path: str | os.PathLike[str]) -> Self:
        """The store that is there.

        Raises
        ------
        InputNotFoundError
            When there is no folder.
        """
        if not Path(path).is_dir():
            raise InputNotFoundError(f"{path} is no folder of versions. Make one with outgrow promote.")
        return cls(path)

    @property
    def name(self) -> str:
        """What the model is called in the log."""
        return self._state.name

    @property
    def log(self) -> EventLog:
        """The log with the records; made if there is none."""
        return self._state.log

    @property
    def versions(self) -> list[int]:
        """The versions there are, in their order."""
        if not self.path.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.path.iterdir() if re.fullmatch(r"\d+", entry.name))

    @property
    def current(self) -> int | None:
        """The version that was promoted last; None before any was."""
        return self.aliases.get(CHAMPION)

    @property
    def aliases(self) -> dict[str, int]:
        """The version that each alias points to."""
        return {alias: int(pointer.version) for alias, pointer in self.pointers().items()}

    def pointers(self) -> Mapping[str, Pointer]:
        """Where each alias points, and its share of the requests."""
        known = self._state.pointers()
        return {} if known is None else known.aliases

    def info(self, version: int) -> VersionInfo:
        """What is known of a version.

        Parameters
        ----------
        version : its number.

        Raises
        ------
        ParameterError
            When there never was such a version.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> model = og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0]))
        >>> store.promote(store.add(model, metrics={"r2": 0.0}))
        >>> info = store.info(1)
        >>> info.number, info.aliases, info.metrics
        (1, ('champion',), {'r2': 0.0})
        """
        facts, there = self._state.facts(), version in self.versions
        if not there and version not in facts.versions:
            raise ParameterError(f"{self.path} has no version {version}, but {self.versions}.")
        info = facts.versions.get(version, VersionInfo(version))
        aliases = tuple(alias for alias, number in sorted(self.aliases.items()) if number == version)
        return replace(info, aliases=aliases, there=there, metrics=info.metrics or self._of_run(info.run))

    def infos(self) -> list[VersionInfo]:
        """What is known of all versions there are, in their order."""
        return [self.info(version) for version in self.versions]

    def number(self, wanted: int | str) -> int:
        """The version that a word means.

        Parameters
        ----------
        wanted : a number, an alias, or `latest`.

        Raises
        ------
        ArtifactError
            When there is no such alias.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> store.promote(store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0]))))
        >>> store.number("champion"), store.number("latest")
        (1, 1)
        """
        return int(pointers.version_folder(self.path, self._state.pointers(), str(wanted)).name)

    def verify(self) -> int:
        """Check that no record of the log was changed, removed or put in; how many there are.

        Raises
        ------
        LogError
            Naming the first record that is not what was written.
        """
        if self._state.is_own and not self._state.size():
            return 0
        return self.log.verify()

    def history(self, alias: str | None = None) -> list[Move]:
        """The moves of an alias, or of all, in the order of the log.

        Parameters
        ----------
        alias : its name; None for all.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> number = store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0])))
        >>> store.promote(number, by="ada")
        >>> [(move.alias, move.before, move.version, move.by) for move in store.history()]
        [('champion', None, 1, 'ada')]
        """
        name = None if alias is None else pointers.alias_name(alias)
        return [move for move in self._state.facts().moves if name in (None, move.alias)]

    def at(self, when: str | date | datetime) -> dict[str, int]:
        """The version that each alias pointed to at a time.

        Parameters
        ----------
        when : a moment, such as `"2026-11-01T14:30"`, or a day, which is its beginning; UTC if it names no
            zone.

        Raises
        ------
        ParameterError
            When it is no time, or one before the first move.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> store.promote(store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0]))))
        >>> store.at("2500-01-01")
        {'champion': 1}
        """
        pointing = self._state.facts().at(parsed_time(when))
        return {alias: int(pointer.version) for alias, pointer in pointing.items()}

    def load(self, version: int | str | None = None) -> Any:
        """A version's model, by default the current one's.

        Parameters
        ----------
        version : its number, or an alias.

        Raises
        ------
        ArtifactError
            When there is no such version, or none was promoted.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> number = store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0])))
        >>> store.load(number).predict(np.zeros((1, 1))).tolist()
        [1.5]
        """
        wanted = None if version is None else str(version)
        return load(pointers.version_folder(self.path, self._state.pointers(), wanted))

    def _of_run(self, run: str | None) -> Mapping[str, Any]:
        """The metrics of a run that ended, where the log has it."""
        if run is None:
            return {}
        with suppress(LogError):
            for record in self.log.latest(1, kinds=("run.ended",), subject=run):
                return dict(record.body.get("metrics") or {})
        return {}

    def _check_version(self, version: int) -> None:
        if version not in self.versions:
            raise ParameterError(f"{self.path} has no version {version}, but {self.versions}.")

    def _check_log(self, given: EventLog | None) -> None:
        """A store goes on with the log it began with."""
        written = self._state.written()
        if given is None or (written is not None and written.name is None):
            return
        known = self._state.facts().position
        if written is None and known and not self.versions and not self._state.is_own:
            raise ParameterError(
                f"{given!r} has a model {self.name!r} already, and its versions are not in {self.path}. "
                "Give another name=."
            )
        if written is not None and known < written.position:
            raise ParameterError(
                f"The records of {self.path} are in {written.log or 'its own folder'}, and not in {given!r}. "
                "Open it without log=."
            )

    def __repr__(self) -> str:
        return f"ModelStore({str(self.path)!r})"
