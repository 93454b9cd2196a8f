"""A verb killed before each of its changes to the file system in turn, then called again, and looked at.

`python kill_each.py VERB FOLDER` forks a process for each call, so that nothing is imported twice. Before
each change that Python makes in the folder, an audit hook stops the process, and what is on the disk is kept:
that is what the verb leaves when it is killed there.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

import outgrow as og
from outgrow.errors import OutputExistsError

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "open"}
ROWS = 60
ONE = og.Local(threads=1)


class StopAtEach:
    """An audit hook that stops the process before each of its changes below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder.resolve())

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or (event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if os.path.abspath(os.fsdecode(arguments[0])).startswith(self._folder):
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # and with it all threads


def rows() -> pa.Table:
    x = np.arange(ROWS, dtype=float)
    place = np.array(["town", "sea"])[np.arange(ROWS) // 5 % 2]
    x[[3, 33, 55]] = np.nan
    return pa.table({"id": np.arange(ROWS), "x": x, "place": place})


def model(slope: float = 2.0) -> Any:
    X = np.arange(10.0)[:, None]
    return og.LinearRegression().fit(pa.table({"x": X[:, 0], "y": slope * X[:, 0]}), "y")


def prepare(folder: Path) -> None:
    """What every try finds."""
    (folder / "in").mkdir(parents=True)
    pq.write_table(rows(), folder / "in" / "rows.parquet", row_group_size=30)
    for slope in (1, 2):
        model(slope).save(folder / f"slope-{slope}")


def ids(path: Path) -> list[int]:
    found: list[int] = ds.dataset(path, partitioning="hive").to_table(columns=["id"])["id"].to_pylist()
    return found


def nothing_beside(folder: Path) -> None:
    # a lock that nobody has is taken by the next writer of its path, which removes it
    hidden = [str(path) for path in folder.rglob(".*") if path.name != ".outgrow" and path.suffix != ".lock"]
    hidden += [str(path) for path in folder.rglob("_*")]
    assert not hidden, hidden


# ---- verbs: each with what it does, and what must be true when it was killed and done again ---------------


class Score:
    options: ClassVar[dict[str, Any]] = {}

    def before(self, folder: Path) -> None:
        pass

    def run(self, folder: Path) -> None:
        data = og.read(folder / "in", engine=ONE)
        options = {"keep": ["id", "place"], "errors": folder / "bad", **self.options}
        og.score(og.load(folder / "slope-2"), data, folder / "out", **options)

    def between(self, folder: Path) -> None:
        if (folder / "out").exists():
            self.after(folder)

    def after(self, folder: Path) -> None:
        found = ids(folder / "out")
        refused = ids(folder / "bad")
        assert sorted(found + refused) == list(range(ROWS)), (len(found), len(refused))
        assert sorted(refused) == [3, 33, 55]
        table = ds.dataset(folder / "out").to_table(columns=["id", "prediction"])
        np.testing.assert_allclose(table["prediction"], 2.0 * table["id"].to_numpy(), atol=1e-9)


class ScorePartitioned(Score):
    options: ClassVar = {"partition_by": "place"}


class ScoreOver(Score):
    options: ClassVar = {"overwrite": True, "partition_by": "place"}

    def before(self, folder: Path) -> None:
        small = rows().slice(0, 10)
        og.score(og.load(folder / "slope-1"), small, folder / "out", keep=["id"], errors=folder / "bad")

    def between(self, folder: Path) -> None:
        og.read(folder / "out").count()  # the old ones or the new ones, but whole


class WriteParquet:
    def before(self, folder: Path) -> None:
        pass

    def run(self, folder: Path) -> None:
        og.write_parquet(og.read(folder / "in", engine=ONE), folder / "out", partition_by="place")

    def between(self, folder: Path) -> None:
        if (folder / "out").exists():
            self.after(folder)

    def after(self, folder: Path) -> None:
        assert sorted(ids(folder / "out")) == list(range(ROWS))


class Stream:
    def before(self, folder: Path) -> None:
        pass

    def run(self, folder: Path) -> None:
        og.score_stream(
            folder / "slope-2", folder / "in", folder / "out", keep=["id"], errors=folder / "bad"
        ).run_available()

    def between(self, folder: Path) -> None:
        pass

    def after(self, folder: Path) -> None:
        assert sorted(ids(folder / "out") + ids(folder / "bad")) == list(range(ROWS))


class SaveOver:
    def before(self, folder: Path) -> None:
        model(1.0).save(folder / "out")

    def run(self, folder: Path) -> None:
        og.load(folder / "slope-2").save(folder / "out", overwrite=True)

    def between(self, folder: Path) -> None:
        assert round(float(og.load(folder / "out").coef_[0]), 6) in (1.0, 2.0)

    def after(self, folder: Path) -> None:
        assert round(float(og.load(folder / "out").coef_[0]), 6) == 2.0


class Save(SaveOver):
    def before(self, folder: Path) -> None:
        pass

    def run(self, folder: Path) -> None:
        og.load(folder / "slope-2").save(folder / "out")

    def between(self, folder: Path) -> None:
        if (folder / "out").exists():
            self.after(folder)


class Promote:
    def before(self, folder: Path) -> None:
        store = og.ModelStore(folder / "out")
        store.promote(store.add(model(1.0)))

    def run(self, folder: Path) -> None:
        store = og.ModelStore(folder / "out")
        store.promote(store.add(og.load(folder / "slope-2")))

    def between(self, folder: Path) -> None:
        store = og.ModelStore(folder / "out")
        assert round(float(store.load().coef_[0]), 6) in (1.0, 2.0)
        assert [round(float(store.load(version).coef_[0]), 6) for version in store.versions][:2] in (
            [1.0],
            [1.0, 2.0],
        )

    def after(self, folder: Path) -> None:
        assert round(float(og.ModelStore(folder / "out").load().coef_[0]), 6) == 2.0


VERBS: dict[str, Any] = {
    "score": ScorePartitioned,
    "score-over": ScoreOver,
    "write-parquet": WriteParquet,
    "stream": Stream,
    "save": Save,
    "save-over": SaveOver,
    "promote": Promote,
}


def forked(work: Callable[[], None], when_stopped: Callable[[], object] = lambda: None) -> int:
    """Do something in a process of its own; its exit code. When it has stopped itself, it goes on."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    while os.WIFSTOPPED(status := os.waitpid(child, os.WUNTRACED)[1]):
        when_stopped()
        os.kill(child, signal.SIGCONT)
    return os.waitstatus_to_exitcode(status)


def keep_each(verb: Any, folder: Path, kept: Path) -> int:
    """Do what the verb does, and keep what each of its changes finds; how many there are."""

    def run() -> None:
        sys.addaudithook(StopAtEach(folder))
        verb.run(folder)

    numbers = count(1)
    assert forked(run, lambda: shutil.copytree(folder, kept / str(next(numbers)))) == 0, "the verb failed"
    return next(numbers) - 1


def go_on(verb: Any, folder: Path) -> None:
    """Look at what a killed verb left, do it again, and look."""
    verb.between(folder)
    with suppress(OutputExistsError):  # all was done: only the word of it had not come
        verb.run(folder)
    verb.after(folder)
    nothing_beside(folder)


def begin(verb: Any, folder: Path) -> None:
    prepare(folder)
    verb.before(folder)


def main(name: str, path: str) -> None:
    for used in ("score", "score_stream", "write_parquet", "load", "read", "ModelStore", "LinearRegression"):
        getattr(og, used)  # imported here, and not in each of the forks
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, all that it shares with this process
    verb, folder, kept = VERBS[name](), Path(path, "try"), Path(path, "kept")
    assert forked(lambda: begin(verb, folder)) == 0
    changes = keep_each(verb, folder, kept)
    for at in range(1, changes + 1):
        shutil.rmtree(folder)
        (kept / str(at)).rename(folder)
        assert forked(lambda: go_on(verb, folder)) == 0, f"killed at change {at}"
    print(changes)


if __name__ == "__main__":
    main(*sys.argv[1:])
