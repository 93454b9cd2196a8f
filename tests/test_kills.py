"""Whatever writes is killed before each of its changes to the disk, called again, and then right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kill_each import VERBS

SCRIPT = Path(__file__).with_name("kill_each.py")


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_each_change(verb: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), verb, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
