"""Tests can fail: what they assert is no tautology, and what goes wrong is not passed over."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.py"))


def tautologies(tree: ast.AST) -> Iterator[str]:
    """Assertions that hold whatever the code does."""
    for node in ast.walk(tree):
        match node:
            case ast.Assert(test=ast.Constant()):
                yield f"line {node.lineno}: {ast.unparse(node)}"
            case ast.Assert(test=ast.Compare() as test) if not _calls(test):
                sides = [ast.unparse(side) for side in (test.left, *test.comparators)]
                if any(a == b for a, b in pairwise(sides)):
                    yield f"line {node.lineno}: {ast.unparse(node)}"
            case ast.Call(func=ast.Attribute(attr=name), args=[first, second, *_]) if "assert_" in name:
                if ast.unparse(first) == ast.unparse(second):
                    yield f"line {node.lineno}: {ast.unparse(node)}"


def _calls(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def passed_over(tree: ast.AST) -> Iterator[str]:
    """Handlers of errors in tests after which nothing is looked at."""
    for test in ast.walk(tree):
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test"):
            for node in ast.walk(test):
                if isinstance(node, ast.ExceptHandler) and all(
                    isinstance(step, ast.Pass | ast.Continue | ast.Return) for step in node.body
                ):
                    yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_tests_can_fail(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert list(tautologies(tree)) == []
    assert list(passed_over(tree)) == []


@pytest.mark.parametrize(
    "body",
    [
        "assert True",
        "assert x == x",
        "np.testing.assert_allclose(x, x)",
        "for x in y:\n        try:\n            f()\n        except ValueError:\n            continue",
    ],
)
def test_what_cannot_fail_is_found(body: str) -> None:
    tree = ast.parse(f"def test_it():\n    {body}")
    assert [*tautologies(tree), *passed_over(tree)]
