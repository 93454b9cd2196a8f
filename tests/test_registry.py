"""Versions, aliases and their history: what the log says, whoever is killed, and whatever the disk does."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import outgrow as og
from outgrow import pointers, storage
from outgrow.cli import main
from outgrow.cli.app import app
from outgrow.errors import ArtifactError, LogError, ParameterError, StorageError
from outgrow.log.record import Record
from outgrow.registry.facts import Facts
from outgrow.registry.follower import Follower
from outgrow.registry.store import ModelStore


def model(level: float) -> Any:
    return og.DummyRegressor(strategy="constant", constant=level).fit(np.zeros((2, 1)), np.zeros(2))


def level(fitted: Any) -> float:
    return float(np.ravel(fitted.predict(np.zeros((1, 1))))[0])


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "late")
    for number in (1, 2, 3):
        store.add(model(number))
    store.promote(1)
    return store


def child(work: Callable[[], None]) -> int:
    """Do something in a fork; how it ended."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except (StorageError, LogError) as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))  # what is printed goes into a file, too
            print(error, file=sys.stderr, flush=True)
            code = 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ---- aliases and their history ---------------------------------------------------------------------------


def test_aliases_and_who_moved_them(store: ModelStore) -> None:
    notes: dict[str, Any] = {"why": "fewer alarms", "by": "ada", "run": "r7", "evidence": "g1", "data": "d1"}
    store.set_alias("challenger", 2, **notes)
    store.set_alias("canary", 2, percent=5)
    store.set_alias("canary", 2, percent=50)
    store.promote(2, expected=1)
    store.delete_alias("canary", why="all of it now")
    assert store.aliases == {"challenger": 2, "champion": 2}
    first, *others = store.history("canary")
    assert [(move.before, move.version, move.percent) for move in [first, *others]] == [
        (None, 2, 5.0),
        (2, 2, 50.0),
        (2, None, None),
    ]
    (move,) = store.history("challenger")
    assert {name: getattr(move, name) for name in notes} == notes
    assert store.info(2).aliases == ("challenger", "champion")
    assert store.log.verify() == 3 + 1 + 5
    positions = [move.position for move in store.history()]
    assert positions == sorted(positions)


def test_what_changes_nothing_is_not_written(store: ModelStore) -> None:
    store.promote(1, why="again")
    store.set_alias("canary", 2, percent=5)
    store.set_alias("canary", 2, percent=5)
    assert [move.alias for move in store.history()] == ["champion", "canary"]


def test_stages_are_words_for_aliases(store: ModelStore) -> None:
    store.set_alias("Production", 2)
    store.set_alias("Staging", 3)
    store.set_alias("Archived", 1)
    assert store.aliases == {"champion": 2, "staging": 3}
    assert store.info(1).tags == {"stage": "archived"}
    assert level(og.load(f"{store.path}@Production")) == 2
    assert level(store.load("current")) == 2


def test_paths_with_an_alias_or_a_version(store: ModelStore) -> None:
    store.set_alias("canary", 3)
    levels = {word: level(og.load(f"{store.path}@{word}")) for word in ("champion", "canary", "2", "latest")}
    assert levels == {"champion": 1, "canary": 3, "2": 2, "latest": 3}
    with pytest.raises(ArtifactError, match=r"no alias challenger; its aliases: canary \(version 3\)"):
        og.load(f"{store.path}@challenger")
    model(9).save(store.path.parent / "a@b")  # a path that is there is not taken apart
    assert level(og.load(store.path.parent / "a@b")) == 9
    with pytest.raises(ArtifactError, match="is not a saved model"):
        og.load(f"{store.path}@7")


def test_refusals(store: ModelStore) -> None:
    for alias in ("latest", "3", "v3", "a b", "", "../x"):
        with pytest.raises(ParameterError, match="can be no alias"):
            store.set_alias(alias, 1)
    with pytest.raises(ParameterError, match=r"no version 7, but \[1, 2, 3\]"):
        store.set_alias("canary", 7)
    with pytest.raises(ParameterError, match="share of the alias canary"):
        store.set_alias("shadow", 2, percent=5)
    with pytest.raises(ParameterError, match="from 0 to 100"):
        store.set_alias("canary", 2, percent=101)
    with pytest.raises(ParameterError, match=r"no alias canary, but \['champion'\]"):
        store.delete_alias("canary")
    with pytest.raises(ParameterError, match="Move it to another version"):
        store.delete_alias("champion")
    with pytest.raises(ParameterError, match="points to version 1 and not to version 2"):
        store.promote(3, expected=2)
    assert len(store.history()) == 1


def test_rollback_to_a_version_and_a_date(store: ModelStore) -> None:
    between = datetime.now(UTC)
    store.promote(2)
    store.promote(3)
    with pytest.raises(ParameterError, match="points to version 3 and not to version 2"):
        store.rollback(expected=2)
    assert store.rollback(why="late in the mornings", expected=3) == 2
    assert store.rollback(to=between) == 1
    assert store.rollback(to=3) == 3
    assert store.at(between) == {"champion": 1}
    assert [move.why for move in store.history()][-3] == "late in the mornings"
    assert store.history()[-2].why == f"rollback to {between:%Y-%m-%d %H:%M:%S} UTC"
    with pytest.raises(ParameterError, match="Nothing is known of 2020-01-01 00:00:00 UTC"):
        store.rollback(to="2020-01-01")
    with pytest.raises(ParameterError, match="is no time"):
        store.at("yesterday")
    with pytest.raises(ParameterError, match="pointed to no version at"):
        store.rollback("canary", to=datetime.now(UTC))
    with pytest.raises(ParameterError, match="pointed to no other version before"):
        store.rollback("canary")


def test_rollback_passes_over_what_is_gone(store: ModelStore) -> None:
    for number in (2, 3):
        store.promote(number)
    shutil.rmtree(store.path / "2")
    assert store.rollback() == 1


def test_a_number_never_comes_again(store: ModelStore) -> None:
    """MLflow numbers anew what was deleted at the end; then a history would speak of two models."""
    shutil.rmtree(store.path / "3")
    assert store.add(model(9)) == 4
    assert store.versions == [1, 2, 4]
    assert (store.info(3).there, store.info(4).there) == (False, True)


def record(position: int, seconds: float, alias: str, version: int | None) -> Record:
    body = {"alias": alias, "from": None, "to": version}
    return Record(position, "o", position, seconds, "alias.moved", "m", body, "ada", None, "", "")


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.sampled_from("ab"), st.integers(1, 9)), min_size=1, max_size=12)
)
@settings(max_examples=60, deadline=None)
def test_the_past_is_what_it_was(moves: list[tuple[int, str, int]]) -> None:
    """Where clocks agree, `at` is what `aliases` said then; else the order of the log counts."""
    facts, days, then, clock = Facts(), [], [], 0
    for position, (step, alias, version) in enumerate(moves, start=1):
        clock += abs(step) + 1
        facts.take(record(position, 86_400.0 * clock, alias, version))
        days.append(clock), then.append(facts.aliases)
    for day, aliases in zip(days, then, strict=True):
        assert facts.at(datetime.fromtimestamp(86_400.0 * day, UTC)) == aliases
    skewed = Facts()
    for position, (step, alias, version) in enumerate(moves, start=1):
        skewed.take(record(position, 1e6 + 86_400.0 * step, alias, version))
    assert skewed.at(datetime.fromtimestamp(1e6 + 86_400.0 * 6, UTC)) == skewed.aliases == then[-1]


def test_a_clock_that_is_ahead_hides_nothing() -> None:
    facts = Facts()
    for position, (day, alias, version) in enumerate([(1, "a", 1), (900, "b", 2), (3, "a", 3)], start=1):
        facts.take(record(position, 86_400.0 * day, alias, version))
    at = facts.at(datetime(1970, 1, 5, tzinfo=UTC))
    assert {alias: pointer.version for alias, pointer in at.items()} == {"a": "3", "b": "2"}


def test_dates(store: ModelStore) -> None:
    tomorrow = date.today() + timedelta(days=2)
    for when in (tomorrow, str(tomorrow), f"{tomorrow}T10:00+02:00", datetime(2400, 1, 1)):
        assert store.at(when) == {"champion": 1}


# ---- tags, metrics, runs ---------------------------------------------------------------------------------


def test_what_is_known_of_a_version(tmp_path: Path) -> None:
    log = og.EventLog(f"sqlite:///{tmp_path}/ops.db")
    store = ModelStore(tmp_path / "late", log)
    log.append("run.ended", "r1", {"metrics": {"roc_auc": 0.81}})
    store.add(model(1), run="r1", data={"fingerprint": "ab12"}, description="first")
    store.tag(1, {"team": "delays", "note": "x"})
    store.tag(1, {"note": None}, description="the first")
    info = store.info(1)
    assert (info.metrics, info.run, info.data) == ({"roc_auc": 0.81}, "r1", {"fingerprint": "ab12"})
    assert (info.tags, info.description, info.by) == ({"team": "delays"}, "the first", log.latest(1)[0].by)
    with pytest.raises(ParameterError, match="no version 2"):
        store.info(2)


def test_a_shared_log(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/ops.db"
    for name in ("late", "early"):
        store = ModelStore(tmp_path / name, uri)
        store.promote(store.add(model(1)), by=name)
    again = ModelStore(tmp_path / "late")  # the store knows its log
    assert [(move.by, move.version) for move in again.history()] == [("late", 1)]
    assert {record.subject for record in og.EventLog(uri).since(0)} == {"late", "early"}
    (tmp_path / "late").rename(tmp_path / "moved")
    moved = ModelStore(tmp_path / "moved")
    moved.promote(moved.add(model(2)))
    assert [move.version for move in moved.history()] == [1, 2]
    with pytest.raises(ParameterError, match=r"are in sqlite:///.*ops.db, and not in"):
        ModelStore(tmp_path / "moved", f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(ParameterError, match=r"has a model 'early' already.*Give another name="):
        ModelStore(tmp_path / "elsewhere" / "early", uri)


# ---- faults ----------------------------------------------------------------------------------------------


def test_killed_between_the_log_and_the_file(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is the truth: followers go by it at once, and whoever writes next mends the file."""
    follower = Follower(store.path)
    assert follower.look().name == "1"  # type: ignore[union-attr]

    def promote() -> None:
        monkeypatch.setattr(ModelStore, "_write", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        store.promote(2, why="killed")

    assert child(promote) == -signal.SIGKILL
    assert pointers.read(store.path).aliases["champion"].version == "1"  # type: ignore[union-attr]
    assert follower.look().name == "2"  # type: ignore[union-attr]
    fresh = ModelStore(store.path)
    assert (fresh.current, fresh.history()[-1].why) == (2, "killed")
    fresh.tag(3, {"a": "b"})
    assert pointers.read(store.path).aliases["champion"].version == "2"  # type: ignore[union-attr]
    assert follower.look() is None


def test_killed_before_the_record_of_a_version(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def add() -> None:
        monkeypatch.setattr(ModelStore, "_change", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        store.add(model(4))

    assert child(add) == -signal.SIGKILL
    assert store.versions == [1, 2, 3, 4]
    assert store.info(4).time is None
    store.promote(4)
    assert store.info(4).why == "was there without a record"


def test_two_who_move_at_once_lose_nothing(store: ModelStore) -> None:
    """Each move says where the alias came from: a chain without gaps, in the order of the log."""
    store.promote(3, by="main")

    def mover(name: str) -> int:
        pid = os.fork()
        if not pid:
            mine = ModelStore(store.path)
            for turn in range(15):
                mine.promote(1 + (turn + len(name)) % 3, by=name)
            os._exit(0)
        return pid

    pids = [mover("a"), mover("bb")]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    moves = store.history()
    assert all(first.version == second.before for first, second in pairwise(moves))
    assert store.current == moves[-1].version
    assert {move.by for move in moves} >= {"a", "bb", "main"}
    assert store.log.verify() == 3 + len(moves)


@pytest.mark.parametrize("where", ["log", "file"])
def test_a_full_disk(store: ModelStore, where: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is half-written: either there is no record, or the next change writes the file."""
    before = (store.path / "records.jsonl").stat().st_size

    def promote() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if where == "log":
            resource.setrlimit(resource.RLIMIT_FSIZE, (before + 10, -1))
        else:
            write = storage.write_durably

            def full(path: Path, payload: bytes, **options: Any) -> None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (10, -1))
                write(path, payload, **options)

            storage.write_durably = full
        store.promote(2)

    assert child(promote) == 2
    complaint = capfd.readouterr().err
    fresh = ModelStore(store.path)
    if where == "log":
        assert "cannot be used: File too large" in complaint
        assert (store.path / "records.jsonl").stat().st_size == before
        assert fresh.current == 1
    else:
        assert "The change is in the log, but" in complaint
        assert fresh.current == 2
    assert fresh.log.verify() == len(list(fresh.log.since(0)))
    assert not list(store.path.glob(".*.new"))
    fresh.promote(3)
    assert pointers.read(store.path).aliases["champion"].version == "3"  # type: ignore[union-attr]


def test_a_store_from_before_there_were_aliases(tmp_path: Path) -> None:
    for number in (1, 2):
        model(number).save(tmp_path / "old" / str(number))
    (tmp_path / "old" / "current").write_text("2\n")
    store = ModelStore(tmp_path / "old")
    assert (store.versions, store.current, store.aliases, store.history()) == ([1, 2], 2, {"champion": 2}, [])
    assert level(og.load(store.path)) == level(og.load(f"{store.path}@champion")) == 2
    follower = Follower(store.path)
    assert follower.look().name == "2"  # type: ignore[union-attr]
    assert not (store.path / "records.jsonl").exists()  # reading writes nothing
    store.promote(1, by="ada")
    moves = [(move.before, move.version, move.why) for move in store.history()]
    assert moves == [(None, 2, "was there without a record"), (2, 1, None)]
    assert follower.look().name == "1"  # type: ignore[union-attr]


def test_a_log_that_is_lost_or_cut(store: ModelStore) -> None:
    store.promote(2)
    log = store.path / "records.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[: whole.rstrip(b"\n").rindex(b"\n") + 1])
    with pytest.raises(LogError, match="made of record 5, but its log ends at record 4: it was cut"):
        ModelStore(store.path).promote(3)
    assert Follower(store.path).look().name == "2"  # type: ignore[union-attr]
    log.unlink()
    fresh = ModelStore(store.path)
    assert fresh.current == 2
    fresh.set_alias("canary", 3)
    assert fresh.aliases == {"champion": 2, "canary": 3}


def test_a_log_that_was_edited(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    log = store.path / "records.jsonl"
    log.write_text(log.read_text().replace('"to":1', '"to":3'))
    with pytest.raises(LogError, match=r"Record 4 .*alias.moved\) was changed after it was written"):
        ModelStore(store.path).verify()
    with pytest.raises(SystemExit):
        main(["history", str(store.path)])
    assert "was changed after it was written" in capsys.readouterr().err


def test_a_damaged_file_is_made_anew_from_the_log(store: ModelStore) -> None:
    (store.path / "current").write_text('{"format": 1, "aliases": {"champ')
    with pytest.raises(ArtifactError, match="is damaged"):
        og.load(store.path)
    fresh = ModelStore(store.path)
    assert fresh.current == 1
    fresh.promote(2)
    assert level(og.load(store.path)) == 2


def test_a_version_that_was_changed_is_not_promoted(store: ModelStore) -> None:
    model(9).save(store.path / "2", overwrite=True)
    with pytest.raises(ArtifactError, match="2 was changed after it was added"):
        store.promote(2)
    (store.path / "3" / "model.json").unlink()
    with pytest.raises(ArtifactError, match="3 is not a saved model"):
        store.promote(3)
    assert store.current == 1


@pytest.mark.parametrize(
    "text",
    [
        "../other",
        "..",
        '{"format": 1, "aliases": {"champion": {"version": "../../x"}}}',
        '{"format": 9}',
        "{}",
    ],
)
def test_files_that_lead_elsewhere(tmp_path: Path, text: str) -> None:
    (tmp_path / "current").write_text(text)
    with pytest.raises(ArtifactError):
        og.load(tmp_path)
    with pytest.raises(ArtifactError):
        Follower(tmp_path).look()


def test_a_store_that_may_only_be_read() -> None:
    """As a volume of a server that is mounted so; its log is still read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    store = ModelStore(folder / "late")
    store.promote(store.add(model(1)))
    if os.getuid():
        for path in (store.path, *store.path.iterdir()):
            path.chmod(0o555 if path.is_dir() else 0o444)

    def read() -> None:
        if not os.getuid():
            os.setuid(65_534)
        fresh = ModelStore(store.path)
        assert [move.version for move in fresh.history()] == [fresh.verify() - 1]
        assert Follower(store.path).look().name == "1"  # type: ignore[union-attr]
        with pytest.raises(LogError, match="may be read but not written"):
            fresh.log.append("finding", "late")
        fresh.set_alias("canary", 1)

    assert child(read) == 2
    for path in (store.path, *store.path.iterdir()):
        path.chmod(0o755)
    shutil.rmtree(folder)


# ---- followers -------------------------------------------------------------------------------------------


def test_followers_of_an_alias(store: ModelStore) -> None:
    store.set_alias("canary", 2)
    champion, canary, fixed = (Follower(f"{store.path}{at}") for at in ("", "@canary", "@3"))
    assert [follower.look().name for follower in (champion, canary, fixed)] == ["1", "2", "3"]  # type: ignore[union-attr]
    store.set_alias("canary", 3)
    assert (champion.look(), fixed.look()) == (None, None)  # what others follow loads nothing anew
    assert canary.look().name == "3"  # type: ignore[union-attr]
    store.delete_alias("canary")
    with pytest.raises(ArtifactError, match="no alias canary"):
        canary.look()
    assert not canary.settled
    assert canary.look() is None  # said once, then after a pause
    store.set_alias("canary", 3)
    canary.look()
    assert canary.settled


def test_a_follower_of_what_was_deleted(store: ModelStore) -> None:
    follower = Follower(store.path)
    follower.look()
    shutil.rmtree(store.path / "1")
    with pytest.raises(ArtifactError, match="no version 1 any more"):
        follower.look()
    store.promote(2)
    assert follower.look().name == "2"  # type: ignore[union-attr]


# ---- the command line ------------------------------------------------------------------------------------


def command(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_commands(tmp_path: Path) -> None:
    folder = str(tmp_path / "late")
    for number in (1, 2):
        model(number).save(tmp_path / f"model-{number}")
        command("promote", folder, str(tmp_path / f"model-{number}"), "--why", f"try {number}", "--by", "ada")
    assert command("alias", folder, "canary", "latest", "--percent", "5") == (
        f"{folder}: canary is version 2 now, for 5 %\n"
    )
    assert command("rollback", folder, "--why", "worse") == f"{folder}: champion is version 1 now\n"
    assert command("rollback", folder, "--to", "2") == f"{folder}: champion is version 2 now\n"
    assert command("alias", folder, "canary", "--delete") == f"{folder}: canary points to nothing now\n"
    head, *lines = command("history", folder).splitlines()
    assert head.split() == ["when", "alias", "from", "to", "by", "why"]
    assert [line.split("UTC")[1].split()[:3] for line in lines] == [
        ["champion", "-", "1"],
        ["champion", "1", "2"],
        ["canary", "-", "2"],
        ["champion", "2", "1"],
        ["champion", "1", "2"],
        ["canary", "2", "-"],
    ]
    assert lines[0].endswith("try 1")
    moves = [json.loads(line) for line in command("history", folder, "champion", "--json").splitlines()]
    assert [move["version"] for move in moves] == [1, 2, 1, 2]
    assert command("history", folder, "--at", "2400-01-01").split() == ["alias", "version", "champion", "2"]
    head, *lines = command("versions", folder).splitlines()
    assert head.split() == ["version", "added", "by", "aliases"]
    assert lines[1].endswith("champion")
    assert [json.loads(line)["number"] for line in command("versions", folder, "--json").splitlines()] == [
        1,
        2,
    ]


def test_commands_say_what_is_wrong(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(store.path)
    for words, complaint in [
        (("alias", folder, "canary", "9"), "no version 9"),
        (("alias", folder, "canary", "challenger"), "no alias challenger"),
        (("alias", folder, "canary"), "give one of both"),
        (("rollback", folder, "--to", "nonsense"), "is no time"),
        (("rollback", folder), "pointed to no other version"),
        (("history", folder, "--at", "1999-01-01"), "Nothing is known of"),
        (("versions", str(store.path.parent / "nowhere")), "is no folder"),
        (("history", str(store.path.parent / "nowhere")), "is no folder"),
        (("alias", str(store.path.parent / "nowhere"), "canary", "1"), "is no folder"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main(list(words))
        assert stopped.value.code == 2, words
        assert complaint in capsys.readouterr().err, words
    assert not (store.path.parent / "nowhere").exists()
