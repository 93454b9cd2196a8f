"""Products and powers of columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, combinations_with_replacement
from math import comb
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base.expansion import MOST_COLUMNS, Expansion
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import COLUMNS, FLAG, OneOf, Such, Unused
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.sparse_products import sparse_products

MOST_TERMS = 1_000_000
"""Columns that it makes at most."""

Term = tuple[int, ...]


def _is_degree(value: Any) -> bool:
    ends = _ends(value)
    if len(ends) != 2 or not all(isinstance(end, Integral) and not isinstance(end, bool) for end in ends):
        return False
    return bool(0 <= int(ends[0]) <= int(ends[1]))


def _ends(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (0, value)


def _are_interactions(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names)
        for names in value
    )


class PolynomialFeatures(Expansion):
    """Products of columns up to a degree, or chosen products, beside the columns themselves.

    Parameters
    ----------
    degree : the most factors of a product, or a pair of the fewest and the most.
    columns : which columns, by name or selector; all by default. They are replaced by the products.
    interaction_only : leave out powers of a column: each is a factor at most once.
    include_bias : begin with a column of ones.
    order : as scikit-learn has it, without effect.
    interactions : products to make instead of all: a list of lists of names of columns, such as
        `[["wind", "rain"]]`; columns stand before them. `degree` and `interaction_only` then do nothing.

    Attributes
    ----------
    powers_ : ndarray of shape (n_output_features_, n_columns), the power of each column in each product.
    n_output_features_ : how many products there are.

    Notes
    -----
    Unlike scikit-learn: `interactions` chooses products by name.

    Unlike Spark MLlib's `PolynomialExpansion(degree=2)`: begins with a column of ones unless
    `include_bias=False`, and orders products by degree.

    Unlike Spark MLlib's `Interaction(inputCols)`: it multiplies every column of one vector with every one of
    another there; here `interactions` names the products that are wanted.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[2.0, 3.0]])
    >>> og.PolynomialFeatures().fit_transform(X).tolist()
    [[1.0, 2.0, 3.0, 4.0, 6.0, 9.0]]
    >>> chosen = og.PolynomialFeatures(interactions=[["x0", "x1"]], include_bias=False)
    >>> chosen.fit_transform(X).tolist(), chosen.get_feature_names_out().tolist()
    ([[2.0, 3.0, 6.0]], ['x0', 'x1', 'x0 x1'])
    """

    takes_sparse = True
    stem = "polynomial"
    learns_nothing = True
    parameters = {
        "degree": Such("a whole number of at least 0, or a pair of them in order", _is_degree),
        "columns": COLUMNS,
        "interaction_only": FLAG,
        "include_bias": FLAG,
        "order": Unused(OneOf("C", "F")),
        "interactions": Such("a list of lists of names", _are_interactions) | None,
    }

    def __init__(
        self,
        degree: Any = 2,
        *,
        columns: Columns = None,
        interaction_only: bool = False,
        include_bias: bool = True,
        order: str = "C",
        interactions: Sequence[Sequence[str]] | None = None,
    ) -> None:
        self.degree = degree
        self.columns = columns
        self.interaction_only = interaction_only
        self.include_bias = include_bias
        self.order = order
        self.interactions = interactions

    def _check_parameters(self) -> None:
        if self.interactions is None and _ends(self.degree)[1] == 0 and not self.include_bias:
            raise ParameterError(
                "Setting degree to zero and include_bias to False would result in an empty output array."
            )

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        count = self._count(len(self.input_names_))
        if count > MOST_TERMS:
            raise ParameterError(
                f"PolynomialFeatures(degree={self.degree}) would make {count:,} columns of "
                f"{len(self.input_names_)}; it makes at most {MOST_TERMS:,}. Choose fewer columns, a "
                "lower degree, or name the products with interactions=."
            )
        list(self._chosen(self.input_names_))  # which refuses names that are not there
        self.n_output_features_ = count

    def _count(self, width: int) -> int:
        if self.interactions is not None:
            return width + len(self.interactions) + self.include_bias
        least, most = _ends(self.degree)
        degrees = range(max(1, least), most + 1)
        ways = (comb(width, d) if self.interaction_only else comb(width + d - 1, d) for d in degrees)
        return sum(ways) + self.include_bias

    def _terms(self, inputs: Sequence[str]) -> Iterator[Term]:
        """The factors of each product, as places among the inputs."""
        bias: list[Term] = [()] * bool(self.include_bias)
        if self.interactions is not None:
            return chain(bias, ((j,) for j in range(len(inputs))), self._chosen(inputs))
        choose: Any = combinations if self.interaction_only else combinations_with_replacement
        least, most = _ends(self.degree)
        degrees = range(max(1, least), most + 1)
        return chain(bias, chain.from_iterable(choose(range(len(inputs)), d) for d in degrees))

    def _chosen(self, inputs: Sequence[str]) -> Iterator[Term]:
        places = {name: j for j, name in enumerate(inputs)}
        for names in self.interactions or ():
            unknown = [name for name in names if name not in places]
            if unknown:
                raise ParameterError(
                    f"PolynomialFeatures(interactions=...): there is no column {unknown[0]!r} among "
                    f"{list(inputs)[:20]}. Name columns that it works on."
                )
            yield tuple(sorted(places[name] for name in names))

    def _restored(self) -> None:
        few = self.n_output_features_ <= MOST_COLUMNS
        self._known_factors = list(self._terms(self.input_names_)) if few else None

    @property
    def _factors(self) -> list[Term]:
        """The factors of each product; those of many, which sparse rows do not need, are not kept."""
        return list(self._terms(self.input_names_)) if self._known_factors is None else self._known_factors

    @property
    def powers_(self) -> np.ndarray:
        """The power of each column in each product."""
        return np.array([_powers(term, len(self.input_names_)) for term in self._factors])

    def _labels(self, inputs: Sequence[str]) -> list[str]:
        return [_label(term, inputs) for term in self._terms(inputs)]

    def _expanded(self, X: Any) -> Any:
        if not is_sparse(X):
            return _products(X, self._factors)
        if self.interactions is not None:
            return _chosen_sparse_products(X, self._factors)
        least, most = _ends(self.degree)
        return sparse_products(X, least, most, self.interaction_only, self.include_bias)

    def _to_onnx(self, table: Table) -> Table:
        graph = table.graph
        X = graph.finite(
            table.matrix(self.selected_, type(self).__name__), type(self).__name__, missing=False
        )
        if not self._factors:
            raise refusal(self, "it makes no columns.", "Leave it out.")
        made = graph.repeat(np.ones(len(self._factors)), X)
        for level in range(max(map(len, self._factors))):
            # one factor more of each product; ones where a product has no more
            places = [term[level] if level < len(term) else -1 for term in self._factors]
            taken = graph.node("Gather", X, graph.constant(np.maximum(places, 0)), axis=1)
            absent = graph.constant(np.array([[place < 0 for place in places]]))
            made = graph.node(
                "Mul", made, graph.node("Where", absent, graph.constant(np.array([[1.0]])), taken)
            )
        parts = graph.split(made, [1] * len(self._factors))
        new = {name: Column(part) for name, part in zip(self.output_names_, parts, strict=True)}
        return table.replace(self.selected_, new)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if self.interactions is not None:
            raise refusal(self, "it makes chosen products.", "Make all up to a degree.")
        degree = tuple(self.degree) if isinstance(self.degree, list) else self.degree
        made = twin(
            "preprocessing.PolynomialFeatures",
            degree,
            interaction_only=self.interaction_only,
            include_bias=self.include_bias,
        )
        block = flow.block(self.selected_, name, made)
        made.fit(flow.tiny(block.labels, np.zeros((2, len(block.labels)))))
        block.makes = [(column, 1) for column in self.output_names_]
        return flow.then(name, flow.beside(self.selected_, [block]))


def _powers(term: Iterable[int], width: int) -> np.ndarray:
    return np.bincount(np.array(list(term), dtype=np.intp), minlength=width)


def _label(term: Term, inputs: Sequence[str]) -> str:
    if len(term) == 2 and term[0] != term[1]:  # as nearly all of very many are
        return f"{inputs[term[0]]} {inputs[term[1]]}"
    counts = {j: term.count(j) for j in term}
    parts = (inputs[j] + (f"^{count}" if count > 1 else "") for j, count in counts.items())
    return " ".join(parts) or "1"


def _products(X: np.ndarray, terms: Sequence[Term]) -> np.ndarray:
    """The products of columns; each is made of one that has a factor less, where there is one."""
    made = np.empty((len(X), len(terms)), order="F")
    known: dict[Term, int] = {}
    for place, term in enumerate(terms):
        known[term] = place
        if not term:
            made[:, place] = 1.0
        elif len(term) == 1:
            made[:, place] = X[:, term[0]]
        elif term[1:] in known:
            np.multiply(made[:, known[term[1:]]], X[:, term[0]], out=made[:, place])
        else:
            np.prod(X[:, list(term)], axis=1, out=made[:, place])
    return made


def _chosen_sparse_products(X: Any, terms: Sequence[Term]) -> Any:
    columns = X.tocsc()
    made: list[Any] = []
    for term in terms:
        column = sp.csc_array(np.ones((X.shape[0], 1)))
        for j in term:
            column = column.multiply(columns[:, [j]])
        made.append(sp.csc_array(column))
    return sp.hstack(made, format="csr")
