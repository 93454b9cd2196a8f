"""Versions of a model in a folder, the aliases that point to them, and the record of who moved which, why."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import date, datetime
from numbers import Integral
from typing import Any

from outgrow import pointers, storage
from outgrow.data.spans import moment as parsed_time
from outgrow.errors import OutputExistsError, ParameterError, StorageError
from outgrow.pointers import CHAMPION, Pointer
from outgrow.registry.changes import (
    Change,
    adopted,
    check_expected,
    check_model,
    check_unchanged,
    checked_notes,
    checked_percent,
    structure_digest,
    version_number,
)
from outgrow.registry.facts import ADDED, MOVED, TAGGED, Facts, kept_versions, moment
from outgrow.registry.follower import Follower as Follower
from outgrow.registry.follower import Version as Version
from outgrow.registry.reader import StoreReader


class ModelStore(StoreReader):
    """Versions of one model: a folder with an artifact for each, aliases that point to some, their history.

    Servers and streams that follow the folder take a version up as soon as the alias `champion` points to it.
    Whatever is changed is a record of a log, which is the truth: who did it, when, why, from where to where.

    Parameters
    ----------
    path : the folder; made by the first `add`.
    log : an `EventLog`, or its URI, such as one for all models of a team. By default the store has its own,
        in its folder; a store goes on with the log that it began with.
    name : what the model is called in the log; the folder's name if not given.

    Examples
    --------
    >>> import tempfile, numpy as np, outgrow as og
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0])
    >>> store = og.ModelStore(tempfile.mkdtemp() + "/double")
    >>> store.promote(store.add(og.LinearRegression().fit(X, y)))
    >>> store.add(og.Ridge().fit(X, y))
    2
    >>> store.versions, store.current
    ([1, 2], 1)
    >>> store.promote(2, why="shrinks", by="ada")
    >>> [(move.before, move.version, move.by, move.why) for move in store.history("champion")][-1]
    (1, 2, 'ada', 'shrinks')
    >>> store.rollback()
    1
    >>> store.load().predict(np.array([[5.0]])).round(6).tolist()
    [10.0]
    """

    def add(
        self,
        model: Any,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
        why: str | None = None,
        run: str | None = None,
        data: Any = None,
        evidence: str | None = None,
        by: str | None = None,
        key: str | os.PathLike[str] | None = None,
    ) -> int:
        """Save a fitted model as the next version, without promoting it.

        Parameters
        ----------
        model : a fitted estimator.
        metrics : how good it is, by name; those of its run, if the log knows it.
        tags, description : as of `tag`.
        why, run, data, evidence, by : as of `set_alias`. A model that was fitted in a recorded run knows it.
        key : the file with a private key that signs the model.

        Returns
        -------
        The version's number; one that was used before never comes again.

        Raises
        ------
        ParameterError
            When it is no estimator, or what is said of it is not JSON; no version is made. Decimal numbers
            are written as numbers, times as text.
        LogError
            When the log cannot be written: the version is there, and is written down with the next change.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> model = og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0]))
        >>> store.add(model, tags={"team": "delays"})
        1
        >>> store.info(1).tags
        {'team': 'delays'}
        """
        check_model(model)
        record = getattr(model, "fit_record_", None)
        if record is not None:
            run = run or record.run
            data = data if data is not None or record.data is None else dict(record.data)
        notes = {"why": why, "run": run, "data": data, "metrics": metrics, "description": description}
        notes = checked_notes({**notes, "tags": _texts(tags) if isinstance(tags, Mapping) else tags})
        used = max(self._state.facts().versions, default=0)
        while True:
            number = max([used, *self.versions]) + 1
            try:
                model.save(self.path / str(number), key=key)
            except OutputExistsError:
                continue  # somebody else took the number at the same moment
            break
        digest = structure_digest(self.path / str(number))
        body = {"version": number, "digest": digest, **notes, "tags": notes["tags"] or {}}
        change = Change(ADDED, body, by, evidence)
        self._change(lambda _: [change])
        return number

    def promote(self, version: int, **notes: Any) -> None:
        """Make a version the current one, at once and as a whole: the alias `champion` points to it.

        Parameters
        ----------
        version : its number.
        **notes : why, run, data, evidence, by, expected, as of `set_alias`.

        Raises
        ------
        ParameterError
            When there is no such version.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> store.promote(store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0]))))
        >>> store.current
        1
        """
        self.set_alias(CHAMPION, version, **notes)

    def set_alias(
        self,
        alias: str,
        version: int,
        *,
        percent: float | None = None,
        why: str | None = None,
        run: str | None = None,
        data: Any = None,
        evidence: str | None = None,
        by: str | None = None,
        expected: int | None = None,
    ) -> None:
        """Let an alias point to a version; those who follow it take the version up within a second.

        Servers of the store answer with `champion`, let `canary` answer `percent` of the requests, and ask
        `shadow` without showing its answers. MLflow's stages are words for aliases: Production is `champion`,
        Staging `staging`, and Archived the tag `stage: archived`. Where nothing would change, nothing is
        written.

        Parameters
        ----------
        alias : a name.
        version : its number.
        percent : the share of the requests that the alias `canary` answers, from 0 to 100.
        why : a reason, for people.
        run : the run that made the model.
        data : the rows it learned from, such as their fingerprint; as JSON has it.
        evidence : what led to it, such as the digest of the record of a gate.
        by : who does it; the user and host if not given.
        expected : the version that the alias is known to point to; another one is an error, so of two that
            decide at the same time one must look again.

        Raises
        ------
        ParameterError
            When there is no such version, or the alias points elsewhere than was expected.
        ArtifactError
            When the version is not as it was added.
        LogError
            When the log cannot be written; nothing is changed.
        StorageError
            When the file that is followed cannot be written; the log has the record, and whatever is changed
            next writes the file.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> number = store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0])))
        >>> store.set_alias("canary", number, percent=5, why="first try")
        >>> store.aliases
        {'canary': 1}
        """
        if alias.lower() == pointers.ARCHIVED:
            self.tag(version, {"stage": pointers.ARCHIVED}, by=by)
            return
        name, number = pointers.alias_name(alias), version_number(version)
        share = checked_percent(name, percent)
        notes = {"percent": share, "why": why, "run": run, "data": data}
        self._point(name, Pointer(str(number), share), notes, by, evidence, expected)

    def _point(
        self,
        name: str,
        after: Pointer,
        notes: Mapping[str, Any],
        by: str | None,
        evidence: str | None,
        expected: int | None,
    ) -> None:
        """Let an alias point elsewhere, and write that down; where nothing changes, nothing is written."""
        version = int(after.version)

        def decide(facts: Facts) -> list[Change]:
            before = facts.aliases.get(name)
            check_expected(name, before, expected)
            self._check_version(version)
            check_unchanged(self.path / after.version, facts.versions.get(version))
            if before == after:
                return []
            body = {"alias": name, "from": before and int(before.version), "to": version}
            return [Change(MOVED, {**body, **notes}, by, evidence)]

        self._change(decide, version)

    def delete_alias(self, alias: str, *, why: str | None = None, by: str | None = None) -> None:
        """Let an alias point to nothing; its history stays.

        Parameters
        ----------
        alias : its name.
        why, by : as of `set_alias`.

        Raises
        ------
        ParameterError
            When there is no such alias, or it is `champion`: servers need one.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> number = store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0])))
        >>> store.set_alias("shadow", number)
        >>> store.delete_alias("shadow")
        >>> store.aliases
        {}
        """
        name = pointers.alias_name(alias)
        if name == CHAMPION:
            raise ParameterError(
                "The alias champion is what servers answer with. Move it to another version."
            )

        def decide(facts: Facts) -> list[Change]:
            before = facts.aliases.get(name)
            if before is None:
                raise ParameterError(f"{self.path} has no alias {name}, but {sorted(facts.aliases)}.")
            body = {"alias": name, "from": int(before.version), "to": None, "why": why}
            return [Change(MOVED, body, by)]

        self._change(decide)

    def tag(
        self,
        version: int,
        tags: Mapping[str, str | None] | None = None,
        *,
        description: str | None = None,
        by: str | None = None,
    ) -> None:
        """Say something of a version.

        Parameters
        ----------
        version : its number.
        tags : texts by name; None takes a tag away.
        description : what people should know of it; None leaves it as it is.
        by : who says so.

        Raises
        ------
        ParameterError
            When there is no such version.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> number = store.add(og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0])))
        >>> store.tag(number, {"reviewed": "yes"}, description="The mean of two.")
        >>> store.info(number).description
        'The mean of two.'
        """
        number = version_number(version)
        self._check_version(number)
        notes = {} if description is None else {"description": description}
        body = {"version": number, "tags": _texts(tags or {}), **notes}
        self._change(lambda _: [Change(TAGGED, body, by)], number)

    def rollback(
        self,
        alias: str = CHAMPION,
        *,
        to: int | str | date | datetime | None = None,
        why: str | None = None,
        evidence: str | None = None,
        by: str | None = None,
        expected: int | None = None,
    ) -> int:
        """Let an alias point to an earlier version again.

        A version that was left by a rollback is none to go back to: two rollbacks go back twice.

        Parameters
        ----------
        alias : its name.
        to : a version, or a time, as of `at`, whose version it gets; None for the one that came
            before the present one.
        why, evidence, by, expected : as of `set_alias`.

        Returns
        -------
        The version it points to.

        Raises
        ------
        ParameterError
            When the alias pointed to no version then, that one is not there any more, or the alias does not
            point where it was expected to.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> store = og.ModelStore(tempfile.mkdtemp() + "/mean")
        >>> model = og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 2.0]))
        >>> store.promote(store.add(model))
        >>> store.promote(store.add(model))
        >>> store.rollback(why="worse than before")
        1
        """
        name = pointers.alias_name(alias)
        if isinstance(to, int | Integral):
            version = version_number(to)
            reason = f"rollback to version {version}"
        elif to is not None:
            when = parsed_time(to)
            pointer = self._state.facts().at(when).get(name)
            if pointer is None:
                raise ParameterError(f"The alias {name} pointed to no version at {moment(when)}.")
            version, reason = int(pointer.version), f"rollback to {moment(when)}"
        else:
            version, reason = self._before(name), "rollback to the version before"
        notes = {"percent": None, "why": why or reason, "run": None, "data": None, "rollback": True}
        self._point(name, Pointer(str(version)), notes, by, evidence, expected)
        return version

    def _before(self, name: str) -> int:
        """The version that an alias went on from to the one it points to now, and that is still there."""
        now, there = self.aliases.get(name), self.versions
        for version in reversed(kept_versions(self.history(name))):
            if version != now and version in there:
                return version
        raise ParameterError(
            f"The alias {name} of {self.path} pointed to no other version before that is still there."
        )

    def _change(self, decide: Callable[[Facts], list[Change]], version: int | None = None) -> None:
        """Write records, and then the file that is followed; nobody else changes the store meanwhile.

        Parameters
        ----------
        decide : gives the records, from what the log says.
        version : that they are about, if it should have a record already.
        """
        with storage.disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with storage.one_writer(self.path / "aliases"):
            state = self._state
            facts = state.facts()
            written = state.written()
            from_before = not facts.position and written is not None
            needed = [number for number in self.versions if from_before or number == version]
            changes = adopted(self.path, needed, facts, written)
            for change in changes:
                self._append(change)
            facts = state.facts() if changes else facts
            for change in decide(facts):
                self._append(change)
            state.sync()
            self._write()

    def _append(self, change: Change) -> None:
        self.log.append(change.kind, self._state.name, change.body, by=change.by, cause=change.cause)

    def _write(self) -> None:
        state = self._state
        size = state.size()
        now = state.of(state.facts(), size)
        if now == state.written():
            return
        try:
            storage.write_file(self.path / pointers.CURRENT, now.encode(), overwrite=True)
        except StorageError as error:
            raise StorageError(
                error.errno,
                f"The change is in the log, but {self.path / pointers.CURRENT} cannot be written: {error} "
                "The next change writes it.",
            ) from error


def _texts(tags: Mapping[str, Any]) -> dict[str, str | None]:
    return {str(key): None if value is None else str(value) for key, value in tags.items()}
