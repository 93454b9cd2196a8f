"""Formulas of R as terms: formulaic parses them, and nothing of them is executed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.errors import ColumnNotFoundError, ParameterError

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs": np.abs,
    "cos": np.cos,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "sin": np.sin,
    "sqrt": np.sqrt,
}
"""What may be done to a number, by its name in R and NumPy."""
CATEGORY, POWER = "C", "**"


@dataclass(frozen=True)
class Factor:
    """A part of a term: a column, and what is done to it.

    Attributes
    ----------
    text : what it is called in the formula.
    column : the column.
    change : '' for the column as it is, `CATEGORY` for the levels of what may be a number, `POWER`, or a name
        among `FUNCTIONS`.
    value : the level that is left out, or the exponent; None where nothing is said.
    """

    text: str
    column: str
    change: str = ""
    value: Any = None


@dataclass(frozen=True)
class Parsed:
    """A formula.

    Attributes
    ----------
    response : the column on the left, None where there is none.
    intercept : whether there is a constant.
    terms : in R's order, those of fewer factors first.
    """

    response: str | None
    intercept: bool
    terms: tuple[tuple[Factor, ...], ...]


def parse(formula: str, columns: Sequence[str]) -> Parsed:
    """The terms of a formula.

    Parameters
    ----------
    formula : as R, formulaic and patsy write it.
    columns : those there are; a dot stands for all of them but that on the left.

    Raises
    ------
    ParameterError
        When it cannot be parsed, or has what is not known here.
    ColumnNotFoundError
        When it names a column that is not there.
    """
    left, _, right = formula.rpartition("~")
    response = _response(formula, left) if left.strip() else None
    terms = _terms(formula, right, [name for name in columns if name != response])
    missing = [factor.column for term in terms for factor in term if factor.column not in columns]
    if missing:
        raise ColumnNotFoundError(
            f"Formula {formula!r}: there is no column {missing[0]!r} among {list(columns)}. Names that are "
            "no words of Python stand between backticks."
        )
    ordered = sorted((term for term in terms if term), key=len)
    return Parsed(response, () in terms, tuple(ordered))


def _terms(formula: str, right: str, columns: Sequence[str]) -> list[tuple[Factor, ...]]:
    """The terms on the right; an empty one is the constant."""
    parser = optional("formulaic.parser", "formula").DefaultFormulaParser()
    errors = optional("formulaic.errors", "formula")
    try:
        parsed = list(parser.get_terms(right, context={"__formulaic_variables_available__": list(columns)}))
    except (errors.FormulaicError, SyntaxError) as error:
        said = str(error).partition("\n")[0].rstrip(". ")
        raise ParameterError(f"Formula {formula!r} is not understood: {said}. Correct it.") from error
    if not all(hasattr(term, "factors") for term in parsed):
        raise ParameterError(f"Formula {formula!r} has several parts. Make a Formula of each.")
    return [tuple(_factor(formula, part) for part in term.factors if part.expr != "1") for term in parsed]


def _response(formula: str, left: str) -> str:
    terms = [term for term in _terms(formula, left, []) if term]
    if len(terms) != 1 or len(terms[0]) != 1 or terms[0][0].change:
        raise ParameterError(
            f"Formula {formula!r}: the left side must be the name of one column. Change y before, or in the "
            "rows."
        )
    return terms[0][0].column


def _factor(formula: str, part: Any) -> Factor:
    """A factor as formulaic gives it."""
    if part.eval_method.value == "lookup":
        return Factor(part.expr, part.expr)
    try:
        factor = _called(part.expr, ast.parse(part.expr, mode="eval").body)
    except SyntaxError:
        factor = None
    if factor is None:
        raise ParameterError(
            f"Formula {formula!r} has {part.expr!r}, which is not known. There are C(column), "
            f'C(column, Treatment("level")), I(column ** 2), and {", ".join(FUNCTIONS)} of a column. Make '
            "other columns before, with a step of their own."
        )
    return factor


def _called(text: str, tree: ast.expr) -> Factor | None:
    """A function of a column; None for another expression."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Pow) and isinstance(tree.left, ast.Name):
        exponent = _constant(tree.right)
        return Factor(text, tree.left.id, POWER, exponent) if isinstance(exponent, int | float) else None
    if not isinstance(tree, ast.Call) or tree.keywords or not tree.args:
        return None
    name, first = _name_of(tree.func), tree.args[0]
    if name == "I" and len(tree.args) == 1:
        return Factor(text, first.id) if isinstance(first, ast.Name) else _power(text, first)
    if not isinstance(first, ast.Name):
        return None
    if name == CATEGORY:
        return _category(text, first.id, tree.args[1:])
    return Factor(text, first.id, name) if name in FUNCTIONS and len(tree.args) == 1 else None


def _power(text: str, tree: ast.expr) -> Factor | None:
    return _called(text, tree) if isinstance(tree, ast.BinOp) else None


def _category(text: str, column: str, contrasts: Sequence[ast.expr]) -> Factor | None:
    """Levels of a column, of which one may be named that is left out."""
    if not contrasts:
        return Factor(text, column, CATEGORY)
    (call, *more) = contrasts
    named = isinstance(call, ast.Call) and _name_of(call.func) in ("treatment", "Treatment")
    if more or not named or not isinstance(call, ast.Call) or len(call.args) + len(call.keywords) > 1:
        return None
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return Factor(text, column, CATEGORY, _constant(given[0]) if given else None)


def _name_of(function: ast.expr) -> str:
    """`log` for log, np.log and numpy.log; `treatment` for contr.treatment."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.attr if function.value.id in ("np", "numpy", "contr") else ""
    return function.id if isinstance(function, ast.Name) else ""


def _constant(tree: ast.expr) -> Any:
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        inner = _constant(tree.operand)
        return -inner if isinstance(inner, int | float) else None
    return tree.value if isinstance(tree, ast.Constant) else None
