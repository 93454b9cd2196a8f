"""A journal whose last line was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from outgrow.errors import TornJournalWarning
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
