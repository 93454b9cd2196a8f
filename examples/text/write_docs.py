"""Write the documentation that libraries carry in their code as one table: a text and its library a row.

The names of the libraries are left out of the texts, and so are examples. Run it with:
python examples/text/write_docs.py out/docs.parquet
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LIBRARIES = ["matplotlib", "numpy", "pydantic", "pyarrow", "scipy", "sklearn"]
NAMES = re.compile(
    r"\b(matplotlib|mpl|plt|numpy|np|pydantic|pyarrow|pa|pc|scipy|sklearn|scikit|learn)\b", re.I
)
EXAMPLES = re.compile(r"^ *(>>>|\.\.\.) .*$|^ *Examples\n *-+$", re.M)
LEAST = 150
"""Characters of a text that are worth a row."""


def docs(library: str) -> Iterator[str]:
    """The texts of a library's functions, classes and modules; each of them once."""
    spec = importlib.util.find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    seen = set()
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = NAMES.sub("", EXAMPLES.sub("", ast.get_docstring(node) or ""))
                if len(text) >= LEAST and text not in seen:
                    seen.add(text)
                    yield text


def table() -> pa.Table:
    """All texts, with a column `text` and a column `library`."""
    rows = [(text, library) for library in LIBRARIES for text in docs(library)]
    texts, libraries = zip(*rows, strict=True)
    return pa.table({"text": pa.array(texts), "library": pa.array(libraries)})


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(), path)
