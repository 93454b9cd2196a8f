"""Run scikit-learn's own tests on outgrow's classes: `python tests/peer [FILE...]`; a line for each file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from swap import FILES, ROOT

HERE = Path(__file__).resolve().parent


def run(files: list[str]) -> dict[str, str]:
    """The outcome of each test that counts, by its id."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        command = [
            *(sys.executable, "-m", "pytest", "-q", "--tb=no", "-c", str(HERE / "pytest.ini")),
            *("--rootdir", str(ROOT), "--continue-on-collection-errors", "--peer-results", str(results)),
            *("-p", "swap", "-p", "no:cacheprovider", "-p", "no:doctest", "-p", "no:schemathesis"),
        ]
        environment = {**os.environ, "PYTHONPATH": path}
        subprocess.run([*command, *files], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False)
        found: dict[str, str] = json.loads(results.read_text())
        return found


def main() -> None:
    results = run(sys.argv[1:] or list(FILES))
    by_file: dict[str, Counter[str]] = defaultdict(Counter)
    for test, outcome in results.items():
        by_file[test.partition("::")[0]][outcome] += 1
    for name, counts in sorted(by_file.items()):
        print(f"{name}: {counts['passed']} of {counts.total() - counts['skipped']} pass")
    total = Counter(results.values())
    print(f"all: {total['passed']} of {total.total() - total['skipped']} pass")
    (HERE / "failing.txt").write_text("".join(f"{t}\n" for t, o in sorted(results.items()) if o == "failed"))


if __name__ == "__main__":
    main()
