"""The feature store: definitions, training rows, and what servers look up."""

from __future__ import annotations

import datetime
import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from outgrow.data.hashing import text_hash
from outgrow.data.spans import Moment, moment
from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.open import dataset, is_spark
from outgrow.engine.protocol import Engine
from outgrow.engine.spark.streams import start_batches
from outgrow.errors import DataError, ParameterError
from outgrow.features.choice import Choice, computed
from outgrow.features.definitions import Entity, FeatureService, FeatureView, OnDemandView
from outgrow.features.joined import SPLIT_ROWS, as_of_join
from outgrow.features.leakage import LeakageReport, check_leakage
from outgrow.features.lookup import Lookup, as_rows
from outgrow.features.newest import checked_types, write_newest, write_pushed
from outgrow.features.online.store import OnlineStore, open_online
from outgrow.features.written import AppliedView, Definitions, served_definition, view_to_json
from outgrow.storage import one_writer, write_file

REGISTRY_FILE = "registry.json"
ONLINE_FILE = "online.db"


class FeatureStore:
    """Views of features: joined to training rows as they were known then, and kept ready for servers.

    Parameters
    ----------
    path : a folder for the definitions, made by the first `apply`.
    online : where servers look: `redis://host:port/0`, or the path of a file of SQLite; one in the folder if
        not given. It is written down by `apply`.
    engine : where joins and materialisation run; this machine by default.

    Raises
    ------
    DataError
        When the definitions cannot be read.

    Examples
    --------
    >>> import datetime, tempfile, pyarrow as pa, outgrow as og
    >>> from outgrow.features import Entity, Source
    >>> def day(n): return datetime.datetime(2026, 1, n)
    >>> sales = pa.table({"shop": ["a", "a", "b"], "day": [day(1), day(5), day(5)], "sold": [7, 9, 2]})
    >>> store = og.FeatureStore(tempfile.mkdtemp())
    >>> store.apply(og.FeatureView("sales", [Entity("shop")], Source(sales, "day")))
    >>> labels = pa.table({"shop": ["a", "b"], "event_timestamp": [day(2), day(2)], "label": [0, 1]})
    >>> store.get_historical_features(labels, ["sales:sold"]).to_arrow()["sold"].to_pylist()
    [7, None]
    >>> store.materialize_incremental(day(6))
    {'sales': 2}
    >>> store.get_online_features(["sales:sold"], [{"shop": "b"}, {"shop": "c"}]).to_pydict()
    {'shop': ['b', 'c'], 'sold': [2, None]}
    """

    def __init__(
        self, path: str | os.PathLike[str], *, online: str | None = None, engine: Engine | None = None
    ) -> None:
        self.path = Path(path).expanduser()
        self.engine = engine
        self._definitions, self._name = Definitions({}, {}, {}), uuid.uuid4().hex[:12]
        self._given, self._address = online, online or str(self.path / ONLINE_FILE)
        self._online: OnlineStore | None = None
        self._lookups: dict[tuple[Any, ...], Lookup] = {}
        self._take_over()

    @property
    def definitions(self) -> Definitions:
        """All that was applied."""
        return self._definitions

    @property
    def online(self) -> OnlineStore:
        """Where servers look; opened when first asked for."""
        if self._online is None:
            self._online = open_online(self._address, self._name)
        return self._online

    def apply(self, objects: Any) -> None:
        """Add views and services, or replace those of the same name; what other processes applied stays.

        The rows that servers look up of a view that is now another are dropped: materialise it anew.

        Parameters
        ----------
        objects : one or several of FeatureView, OnDemandView, FeatureService; entities come with their views.

        Raises
        ------
        SchemaError
            When a source lacks columns, or they are of types that cannot be served. Nothing is changed.
        ParameterError
            When a service or view names features that there are not, or names of views differ in case only.
        """
        given = list(objects) if isinstance(objects, Iterable) else [objects]
        views: dict[str, AppliedView] = {}
        on_demand: dict[str, OnDemandView] = {}
        services: dict[str, FeatureService] = {}
        for item in given:
            if isinstance(item, FeatureView):
                views[item.name] = checked_types(item, self.engine or Local())
            elif isinstance(item, OnDemandView):
                on_demand[item.name] = item
            elif isinstance(item, FeatureService):
                services[item.name] = item
            elif not isinstance(item, Entity):
                raise ParameterError(f"{item!r} cannot be applied. Give views and services.")
        self.path.mkdir(parents=True, exist_ok=True)
        with one_writer(self.path / "definitions"):
            self._take_over()
            self._change(Definitions(views, on_demand, services))

    def get_historical_features(
        self,
        entity_df: Any,
        features: str | Sequence[str] | FeatureService,
        *,
        full_feature_names: bool = False,
        event_timestamp: str = "event_timestamp",
        split_rows: int | None = SPLIT_ROWS,
    ) -> Dataset:
        """Rows with features as they were known at each row's time; see `features.as_of_join`.

        Parameters
        ----------
        entity_df : dataset, table, pandas or Spark DataFrame with the keys and `event_timestamp`.
        features : `view:feature` each, names of views for all of theirs, or a service.
        full_feature_names : call them `view__feature`.
        event_timestamp : the column of the time for which the values are wanted.
        split_rows : see `features.as_of_join`.

        Returns
        -------
        Dataset
            The rows, and the features in the order in which they were asked for; on Spark if the rows are.
        """
        choice = Choice.of(self._definitions, features, full=full_feature_names)
        spine = dataset(entity_df)
        rows = as_of_join(
            spine,
            [self._definitions.views[name].view for name in choice.views],
            time=event_timestamp,
            features=choice.views,
            full_feature_names=full_feature_names,
            engine=self.engine,
            split_rows=split_rows,
        )
        for view in choice.on_demand:
            rows = computed(rows, view, choice)
        return rows.select([*spine.columns, *choice.names])

    def materialize(
        self, start: Moment, end: Moment, *, views: Sequence[str] | None = None
    ) -> dict[str, int]:
        """Write the newest row of each key for servers; how many rows, by view.

        Parameters
        ----------
        start : rows known up to then are left out. A row is known at the later of its event time and the time
            it was written, so those that came late are in.
        end : rows known only later are left out.
        views : their names; all if not given.
        """
        return self._materialize(microseconds(start, "start"), microseconds(end, "end"), views)

    def materialize_incremental(
        self, end: Moment | None = None, *, views: Sequence[str] | None = None
    ) -> dict[str, int]:
        """Write what became known since the last time; how many rows, by view.

        Sources without a column of the time of writing do not tell which rows came late, so all of their rows
        are looked at again.

        Parameters
        ----------
        end : rows known only later are left out; now if not given.
        views : their names; all if not given.
        """
        return self._materialize(None, _now() if end is None else microseconds(end, "end"), views)

    def get_online_features(
        self,
        features: str | Sequence[str] | FeatureService,
        entity_rows: Any,
        *,
        full_feature_names: bool = False,
        now: Moment | None = None,
    ) -> pa.Table:
        """The newest features of keys; values past the `ttl` of their view are missing.

        Parameters
        ----------
        features : as of `get_historical_features`.
        entity_rows : a list of dicts, a dict of lists, or a table, with the keys, and the columns that views
            on demand use.
        full_feature_names : call them `view__feature`.
        now : as of which time values must hold; now if not given.
        """
        lookup = self.lookup(features, full_feature_names=full_feature_names)
        return lookup.table(entity_rows, _now() if now is None else microseconds(now, "now"))

    def lookup(
        self, features: str | Sequence[str] | FeatureService, *, full_feature_names: bool = False
    ) -> Lookup:
        """What looks features up, for servers that ask for the same again and again.

        Parameters
        ----------
        features, full_feature_names : as of `get_online_features`.
        """
        named = features.name if isinstance(features, FeatureService) else features
        known = (named if isinstance(named, str) else tuple(named), full_feature_names)
        lookups = self._lookups
        if known not in lookups:
            choice = Choice.of(self._definitions, features, full=full_feature_names)
            views = {name: self._definitions.views[name] for name in choice.views}
            lookups[known] = Lookup(self.online, choice, views)
        return lookups[known]

    def push(self, view: str, rows: Any, *, batch: str | int | None = None) -> int:
        """Write rows that came just now for servers; how many, or of how many keys where there are windows.

        One that is older than what is there changes nothing; in a window, one that was known by the moment
        up to which the view was materialised is taken to be there. For training, add them to the source.

        Parameters
        ----------
        view : the name.
        rows : with the keys, features and times of the view; a table, a dataset or a list of dicts. The
            column of the time of writing may be left out, and is now then.
        batch : what tells the rows from other batches: pushed again, they are counted once.

        Raises
        ------
        ColumnNotFoundError, SchemaError, DataError
            When columns are missing or of other types than the view's, or a row is not known yet, as its time
            lies more than a minute ahead or its view has a longer delay. Nothing is written then.
        """
        applied = self._definitions.views.get(view)
        if applied is None:
            raise ParameterError(f"There is no view {view!r}; there are {sorted(self._definitions.views)}.")
        tag = 0 if batch is None else int(text_hash(str(batch))) >> 1 | 1
        return write_pushed(self.online, applied, as_rows(rows), _now(), tag)

    def push_stream(
        self,
        view: str,
        rows: Any,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        trigger: Mapping[str, Any] | None = None,
    ) -> Any:
        """Push what comes, batch by batch; a batch of Spark that is tried again after a fault counts once.

        Parameters
        ----------
        view : the name.
        rows : a streaming Spark DataFrame (Classic), or anything that gives batches one after the other:
            tables or lists of dicts.
        checkpoint : the folder for Spark's notes on what it has read.
        trigger : how Spark makes batches: {"availableNow": True}, {"processingTime": "5 seconds"}, ...

        Returns
        -------
        int or StreamingQuery
            How many were pushed; or Spark's query, which runs already.
        """
        if not is_spark(rows):
            return sum(self.push(view, batch) for batch in rows)

        def push(batch: Any, number: int) -> None:
            self.push(view, batch, batch=f"{checkpoint} {number}")

        return start_batches(rows, push, checkpoint, trigger)

    def freshness(self) -> dict[str, float | None]:
        """Of each view, the seconds since the moment up to which it was materialised; None: never."""
        moments = {name: self.online.as_of(name) for name in self._definitions.views}
        return {name: None if m is None else (_now() - m) / 1e6 for name, m in moments.items()}

    def check_leakage(
        self, labels: Any, features: str | Sequence[str], *, event_timestamp: str = "event_timestamp"
    ) -> LeakageReport:
        """Whether features know of the future of the rows they are joined to; see `og.check_leakage`.

        Parameters
        ----------
        labels : rows with keys and time.
        features : as of `get_historical_features`.
        event_timestamp : the column of the time.
        """
        views = [self._definitions.views[name].view for name in Choice.of(self._definitions, features).views]
        return check_leakage(views, labels, time=event_timestamp, engine=self.engine)

    def close(self) -> None:
        """Let go of files and connections."""
        if self._online is not None:
            self._online.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.path)!r}, views={sorted(self._definitions.views)})"

    def _materialize(self, start: int | None, end: int, views: Sequence[str] | None) -> dict[str, int]:
        self._take_over()
        names = list(self._definitions.views) if views is None else list(views)
        unknown = [name for name in names if name not in self._definitions.views]
        if unknown:
            raise ParameterError(
                f"There are no views {unknown}; there are {sorted(self._definitions.views)}."
            )
        counts = {}
        for name in names:
            applied = self._definitions.views[name]
            since, before = start, self.online.as_of(name)
            if start is None and applied.view.source.created_timestamp_column is not None:
                since = before
            counts[name] = write_newest(self.online, applied, self.engine or Local(), since, end, _now())
            self.online.set_as_of(name, max(end, before or end))
        return counts

    def _change(self, new: Definitions) -> None:
        """Add definitions to those that there are, or put them in their places."""
        old = self._definitions
        changed = Definitions(
            {**old.views, **new.views}, {**old.on_demand, **new.on_demand}, {**old.services, **new.services}
        )
        _check_names(new.views, changed.views)
        for name in (*changed.on_demand, *changed.services):
            Choice.of(changed, [name], full=True)
        before = {name: served_definition(view) for name, view in old.views.items()}
        for name, view in new.views.items():  # first, so that no fault leaves rows of another definition
            if before.get(name, served_definition(view)) != served_definition(view):
                self.online.drop(name)
        self._write(changed)

    def _take_over(self) -> None:
        """Take over what other processes have applied since; tables that this one holds stay."""
        try:
            given: Mapping[str, Any] = json.loads((self.path / REGISTRY_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (ValueError, OSError) as error:
            raise DataError(f"The feature store {self.path} cannot be read: {error}.") from None
        read, ours = Definitions.from_json(given), self._definitions.views
        held = {name: view for name, view in ours.items() if view_to_json(view) == given["views"].get(name)}
        self._definitions = Definitions({**read.views, **held}, read.on_demand, read.services)
        self._lookups = {}
        chosen = self._given or given.get("online") or str(self.path / ONLINE_FILE), given.get("name", "")
        if chosen != (self._address, self._name):
            self.close()
            self._online = None
            self._address, self._name = chosen

    def _write(self, definitions: Definitions) -> None:
        given = definitions.to_json()
        given["name"] = self._name
        given["online"] = None if self._address == str(self.path / ONLINE_FILE) else self._address
        text = json.dumps(given, indent=2, ensure_ascii=False) + "\n"
        write_file(self.path / REGISTRY_FILE, text.encode(), overwrite=True)
        self._definitions = definitions
        self._lookups = {}


def microseconds(when: Moment, name: str) -> int:
    """A moment in microseconds since 1970.

    Parameters
    ----------
    when : without a time zone in UTC.
    name : of the parameter, for the message.

    Raises
    ------
    ParameterError
        When it is none.
    """
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (moment(when, name) - epoch) // datetime.timedelta(microseconds=1)


def _check_names(new: Iterable[str], views: Iterable[str]) -> None:
    """Refuse new views whose rows SQLite, to which names are alike in any case, would put among others'."""
    for name in new:
        alike = sorted(other for other in views if other.lower() == name.lower())
        if len(alike) > 1:
            raise ParameterError(f"The names of views {alike} differ in case only. Rename one of them.")


def _now() -> int:
    return time.time_ns() // 1000
