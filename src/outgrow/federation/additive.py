"""Statistics as numbers that add, so that a sum behind masks is all that anybody learns of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outgrow.engine.context import SlowestRank
from outgrow.engine.matrix import LabelCounts
from outgrow.errors import DataError, EngineError, PrivacyError
from outgrow.stats.counts import ValueCounts
from outgrow.stats.moments import CoMoments, Moments

Form = Any
"""What is added up, without its numbers: nested lists of a word and sizes, as JSON holds them."""


def form_of(state: Any, stage: str) -> Form:
    """What a state would add up.

    Parameters
    ----------
    state : the result of a fold.
    stage : which fit, for the message.

    Raises
    ------
    PrivacyError
        When its numbers do not add.
    """
    if state is None or isinstance(state, SlowestRank):
        return None
    if isinstance(state, tuple):
        return ["tuple", [form_of(part, stage) for part in state]]
    if isinstance(state, np.ndarray) and state.dtype.kind in "biuf":
        return ["array", list(state.shape), state.dtype.str]
    if isinstance(state, Moments):
        return ["moments", len(state.n)]
    if isinstance(state, CoMoments):
        return ["co-moments", len(state.mean)]
    if isinstance(state, LabelCounts) and all(map(_is_plain, state.weights.counts)):
        return ["labels", sorted(state.weights.counts, key=_order)]
    raise PrivacyError(
        f"{stage} merges {type(state).__name__}, whose numbers do not add, so a secure sum cannot hide "
        "those of this site. Choose an estimator whose passes are sums, such as a linear model, or fit "
        "with secure=False."
    )


def merged_form(forms: list[Form]) -> Form:
    """The form of the sum: of classes all that there are at any site.

    Raises
    ------
    EngineError
        When the forms do not fit together.
    """
    known = [form for form in forms if form is not None]
    if not known:
        return None
    kind = known[0][0]
    if any(form[0] != kind for form in known):
        raise EngineError(f"Sites add up different things: {sorted({str(form[0]) for form in known})}.")
    if kind == "tuple":
        return [
            "tuple",
            [merged_form(list(parts)) for parts in zip(*(form[1] for form in known), strict=True)],
        ]
    if kind == "labels":
        return ["labels", sorted({label for form in known for label in form[1]}, key=_order)]
    if any(form[:2] != known[0][:2] for form in known):
        raise EngineError(f"Sites add up arrays of different sizes: {known[0][1]} and others.")
    return known[0]


def numbers_of(state: Any, form: Form) -> np.ndarray:
    """A state as numbers that add; zeros of nothing.

    Parameters
    ----------
    state : the result of a fold, or None.
    form : of the sum.
    """
    if form is None:
        return np.zeros(0)
    if form[0] == "tuple":
        parts = state or (None,) * len(form[1])
        return np.concatenate([np.zeros(0), *map(numbers_of, parts, form[1])])
    if state is None:
        return np.zeros(_size(form))
    return _TO[form[0]](state, form)


def state_of(numbers: np.ndarray, form: Form) -> Any:
    """The state that a sum is.

    Parameters
    ----------
    numbers : as `numbers_of` gave them, added up.
    form : of the sum.
    """
    if form is None:
        return None
    if form[0] == "tuple":
        parts, start = [], 0
        for part in form[1]:
            parts.append(state_of(numbers[start : start + _size(part)], part))
            start += _size(part)
        return tuple(parts)
    return _FROM[form[0]](numbers, form)


def _size(form: Form) -> int:
    if form is None:
        return 0
    kind, sizes = form[0], form[1]
    if kind == "tuple":
        return sum(map(_size, sizes))
    if kind == "array":
        return int(np.prod(sizes, dtype=np.int64))
    if kind == "moments":
        return 3 * int(sizes)
    return 1 + sizes + sizes * sizes if kind == "co-moments" else 4 + len(sizes)


def _of_moments(state: Moments, form: Form) -> np.ndarray:
    mean = np.where(state.n > 0, state.mean, 0.0)
    return np.concatenate([state.n, state.n * mean, state.m2 + state.n * mean * mean]).astype(np.float64)


def _to_moments(numbers: np.ndarray, form: Form) -> Moments:
    n, total, squares = numbers.reshape(3, -1)
    mean = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
    return Moments(n.copy(), mean, np.maximum(squares - total * mean, 0.0))


def _of_co_moments(state: CoMoments, form: Form) -> np.ndarray:
    products = state.products + state.n * np.outer(state.mean, state.mean)
    return np.concatenate([[state.n], state.n * state.mean, products.reshape(-1)])


def _to_co_moments(numbers: np.ndarray, form: Form) -> CoMoments | None:
    columns, n = form[1], float(numbers[0])
    if n <= 0:
        return None
    total = numbers[1 : 1 + columns]
    products = numbers[1 + columns :].reshape(columns, columns) - np.outer(total, total) / n
    return CoMoments(n, total / n, products)


def _of_labels(state: LabelCounts, form: Form) -> np.ndarray:
    return np.concatenate([state.sums, [state.weights.counts.get(label, 0.0) for label in form[1]]])


def _to_labels(numbers: np.ndarray, form: Form) -> LabelCounts:
    return LabelCounts(numbers[:4].copy(), ValueCounts(dict(zip(form[1], numbers[4:].tolist(), strict=True))))


def _of_array(state: np.ndarray, form: Form) -> np.ndarray:
    numbers = state.astype(np.float64).reshape(-1)
    if state.dtype.kind in "iu" and np.abs(numbers).max(initial=0.0) > 2.0**53:
        raise DataError("A sum of whole numbers past 2**53 cannot be hidden exactly.")
    return numbers


def _to_array(numbers: np.ndarray, form: Form) -> np.ndarray:
    kind = np.dtype(form[2])
    return (np.rint(numbers) if kind.kind in "biu" else numbers).astype(kind).reshape(form[1])


_TO: dict[str, Callable[[Any, Form], np.ndarray]] = {
    "array": _of_array,
    "moments": _of_moments,
    "co-moments": _of_co_moments,
    "labels": _of_labels,
}
_FROM: dict[str, Callable[[np.ndarray, Form], Any]] = {
    "array": _to_array,
    "moments": _to_moments,
    "co-moments": _to_co_moments,
    "labels": _to_labels,
}


def _is_plain(label: Any) -> bool:
    return isinstance(label, bool | int | float | str)


def _order(label: Any) -> tuple[str, Any]:
    return (type(label).__name__ if isinstance(label, str) else "", label)
