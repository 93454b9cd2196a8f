"""What classes declare of their parameters is whole, right, and asked before any row is read."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.catalogue import ESTIMATORS
from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import (
    CLASS_WEIGHTS,
    FLAG,
    LIST,
    Domain,
    Integer,
    Number,
    Numbers,
    OneOf,
    Share,
    Unused,
)

CLASSES = [*(getattr(og, name) for name in ESTIMATORS), og.PerGroup]
DECLARED = [(cls, name) for cls in CLASSES for name in cls.parameters]


def own_parameters(cls: Any) -> dict[str, inspect.Parameter]:
    """The parameters that a class names, without those that it only knows by their beginnings."""
    known = inspect.signature(cls).parameters.items()
    return {name: parameter for name, parameter in known if parameter.kind != parameter.VAR_KEYWORD}


class Unreadable:
    """A table that fails whoever reads it."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        raise AssertionError("rows were read")


@pytest.mark.parametrize("cls", CLASSES)
def test_all_parameters_are_declared_and_documented(cls: Any) -> None:
    signature = own_parameters(cls)
    assert set(cls.parameters) == set(signature)
    documented = inspect.getdoc(cls).partition("Parameters\n-")[2].partition("Attributes\n-")[0]
    for name, parameter in signature.items():
        assert name in documented
        assert parameter.default is parameter.empty or parameter.default in cls.parameters[name]
    assert all(map(cls.takes_parameter, cls.test_parameters))


@pytest.mark.parametrize(("cls", "name"), DECLARED)
def test_other_values_are_refused_before_rows_are_read(cls: Any, name: str) -> None:
    domain, strange = cls.parameters[name], object()
    if strange in domain:  # only a fit can say
        return
    signature = own_parameters(cls)
    given = {"estimator": og.Ridge(), "by": ["key"]} if cls is og.PerGroup else cls.test_parameters
    needed = {
        key: value
        for key, value in given.items()
        if key in signature and signature[key].default is inspect.Parameter.empty
    }
    with pytest.raises(ParameterError) as error:
        cls(**{**needed, name: strange}).fit(Unreadable(), "y")
    assert str(error.value).startswith(f"{cls.__name__}({name}={strange!r}): {name} must be {domain}.")


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.floats(), max_size=3),
    st.lists(st.lists(st.integers(), max_size=2), max_size=3),
    st.sampled_from([np.float32(0.5), np.int8(3), np.True_, np.eye(2), np.array(["a"]), b"mean", len, 1j]),
)


@settings(max_examples=200)
@given(ODD)
def test_any_value_is_in_a_domain_or_not(value: Any) -> None:
    for domain in {domain for cls in CLASSES for domain in cls.parameters.values()}:
        assert (value in domain) in (True, False)


@pytest.mark.parametrize(
    ("domain", "inside", "outside", "words"),
    [
        (
            Number(low=0),
            [0, 0.5, np.float32(1), np.inf],
            [-1, np.nan, True, "1", None],
            "a number of at least 0",
        ),
        (Number(above=0, below=1), [0.5], [0, 1], "a number greater than 0 and less than 1"),
        (
            Integer(low=1) | None,
            [1, np.int8(2), None],
            [0, 1.0, True],
            "a whole number of at least 1 or None",
        ),
        (Share(above=0, high=1), [1.0, 0.5], [1, 0.0, 1.5], "a share greater than 0 and at most 1"),
        (
            Numbers(low=0),
            [1, [0, 2.5], np.array(3)],
            [-1, [1, -1], [], [[1]], ["a"], [np.nan], [[1], [1, 2]]],
            "a number of at least 0 or an array of such numbers",
        ),
        (OneOf("a", None), ["a", np.str_("a"), None], ["b", np.array(["a"]), 0], "one of 'a', None"),
        (OneOf("auto") | LIST, ["auto", [1], (), np.eye(2)], ["aut", {1}], "'auto' or a list"),
        (FLAG, [True, np.False_], [0, 1, None, "no"], "True or False"),
        (
            CLASS_WEIGHTS,
            [None, "balanced", {}, {"a": np.float32(2), 0: 0}, [{"a": 1}, None]],
            ["auto", {"a": -1}, {0: np.nan}, {0: np.inf}, {0: "2"}, {0: None}, [1, 2], 3],
            "a dictionary of weights of at least 0, 'balanced', None or a list of such, one for each target",
        ),
        (Unused(), [object()], [], "anything"),
        (Unused(OneOf("x", "y")), ["x"], ["z"], "one of 'x', 'y'"),
    ],
    ids=str,
)
def test_domains(domain: Domain, inside: list[Any], outside: list[Any], words: str) -> None:
    assert all(value in domain for value in inside)
    assert not any(value in domain for value in outside)
    assert str(domain) == words


def test_a_long_value_is_shortened_and_advice_is_given() -> None:
    with pytest.raises(ParameterError, match=r"strategy=\[0, 0.*\.\.\.\): strategy must be 'mean'"):
        og.SimpleImputer(strategy=[0] * 1000).check_parameters()
    with pytest.raises(ParameterError, match=r"ccp_alpha must be 0\. .*give min_impurity_decrease"):
        og.GradientBoostingRegressor(ccp_alpha=0.1).check_parameters()
