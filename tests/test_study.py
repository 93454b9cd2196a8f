"""Where studies are kept: journals that were cut off, files of others, databases."""

from __future__ import annotations

from pathlib import Path

import pytest

import outgrow as og
from outgrow.errors import StudyError, TornJournalWarning
from outgrow.tuning.space import Space
from outgrow.tuning.study import Study


@pytest.mark.parametrize("torn", [b'{"op_code":5,"tri', b'{"op_code":5,"tri\n', b"\xff\xfe\n"])
def test_a_torn_journal_goes_on(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "search.journal"
    space = Space({"x": [1, 2, 3]})

    def opened() -> Study:
        return Study(path, space, ["minimize"], sampler="random", pruner="none", seed=0, identity={})

    first = opened()
    first.tell(first.ask(), [1.0], {})
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with pytest.warns(TornJournalWarning, match="cut off"):
        again = opened()
    assert [trial.value for trial in again.finished] == [1.0]
    again.tell(again.ask(), [2.0], {})
    again.close()
    last = opened()
    assert [trial.value for trial in last.finished] == [1.0, 2.0]
    last.close()


@pytest.mark.parametrize("body", [b"hello\n", b"a,b\n1,2", b'{"a":1}\n', b"SQLite format 3\0", b"\n"])
def test_a_file_of_somebody_else_is_left_alone(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(body)
    with pytest.raises(StudyError, match="no journal"):
        og.tune(og.Ridge(), [[1.0]] * 4, [1.0] * 4, space={"alpha": [1.0]}, study=path, trials=1)
    assert path.read_bytes() == body


def test_a_journal_with_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "search.journal"
    path.write_bytes(b'{"op_code":0,"wor\n{"op_code":5}\n')
    with pytest.raises(StudyError, match=r"search\.journal cannot be opened"):
        Study(path, Space({"x": [1]}), ["minimize"], sampler="random", pruner="none", seed=0, identity={})


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "mysql://me:secret@127.0.0.1:1/x", "x://y"])
def test_databases_that_cannot_be_opened(url: str) -> None:
    with pytest.raises(StudyError, match="cannot be opened") as caught:
        Study(url, Space({"x": [1]}), ["minimize"], sampler="random", pruner="none", seed=0, identity={})
    assert "secret" not in str(caught.value)


def test_a_grid_ends_when_every_combination_was_tried() -> None:
    """However many trials are allowed; a range is a list of choices."""
    space = {"alpha": [1.0, 2.0], "max_iter": range(1, 4)}
    X, y = [[float(row)] for row in range(12)], [2.0 * row for row in range(12)]
    found = og.tune(og.Ridge(), X, y, space=space, sampler="grid", trials=50, workers=1, within="engine")
    tried = [tuple(trial.params.values()) for trial in found.study.trials]
    assert sorted(tried) == [(alpha, steps) for alpha in (1.0, 2.0) for steps in (1, 2, 3)]
