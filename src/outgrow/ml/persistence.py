"""Estimators as artifacts: class, parameters, what was learned, and the versions that wrote it."""

from __future__ import annotations

import copy
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from inspect import signature
from itertools import chain
from typing import Any

import numpy as np
from sklearn.base import clone

from outgrow import artifact
from outgrow.data.pandas_frames import is_frame
from outgrow.engine.record import as_tree, record_of
from outgrow.errors import ArtifactError, OutgrowError
from outgrow.ml import foreign, format_1
from outgrow.ml.core import columns as selectors
from outgrow.ml.core import functions, given
from outgrow.ml.core.estimator import Estimator, class_name
from outgrow.ml.core.inputs import first_row

_OURS = f"{__name__.partition('.')[0]}."
"""Below this, modules are imported because a model names them."""
_FOLDS = f"{_OURS}ml.selection.folds"
LIBRARIES = ("outgrow", "numpy", "scipy", "pyarrow", "sklearn", "xgboost")
"""Whose versions a model records, as far as they were loaded when it was saved."""
_SELECTORS = {
    cls.__name__: cls
    for cls in (selectors._Numeric, selectors._Categorical, selectors._Matching, selectors.FewValues)
}


def save(
    estimator: Estimator,
    path: str | os.PathLike[str],
    *,
    input_example: Any = None,
    reference: bytes | None = None,
    overwrite: bool = False,
    key: str | os.PathLike[str] | None = None,
) -> None:
    """Write a fitted estimator; see `Estimator.save`.

    Parameters
    ----------
    estimator : it is not changed.
    path : the directory to make.
    input_example : rows in any form that it takes, of which the first is kept; None keeps none.
    reference : of the rows that it learned from, as bytes; None for none.
    overwrite : whether a model that is there already may be replaced.
    key : the file with a private key that signs the model; None for no signature.

    Raises
    ------
    ArtifactError
        When it holds an object that cannot be written, or that another session would not load.
    """
    record = getattr(estimator, "fit_record_", None)
    if input_example is not None:
        estimator = copy.copy(estimator)
        estimator.input_example_ = first_row(estimator, input_example)
    tree = {
        "libraries": {name: sys.modules[name].__version__ for name in LIBRARIES if name in sys.modules},
        "schema": getattr(estimator, "columns_", {}),
        "estimator": describe(estimator),
        "fit": None if record is None else as_tree(record),
    }
    if reference is not None:
        tree["reference"] = reference
    for payload in _payloads(tree["estimator"]):
        foreign.check_loadable(payload)
    artifact.write(path, tree, overwrite=overwrite, key=key)


def load(
    path: str | os.PathLike[str],
    *,
    modules: Iterable[type] = (),
    public_key: str | os.PathLike[str] | None = None,
) -> Any:
    """Read an estimator that `save` wrote. Nothing in the artifact is executed, here or on a cluster.

    Parameters
    ----------
    path : the folder; or of a model store, whose champion is read, or `store@canary`, or `store@3`.
    modules : classes of networks that it names, where the Python modules that define them were not imported;
        they are known from then on.
    public_key : the file with the key that the model must be signed with.

    Raises
    ------
    ParameterError
        When `modules` holds what is no class.
    ArtifactError
        When the directory is damaged, newer than this library, not signed with the key that is asked for, or
        names an unknown class or objects of types that are not known to be harmless.

    Examples
    --------
    >>> import tempfile, numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> og.LinearRegression().fit(X, [1.0, 3.0, 5.0]).save(folder := tempfile.mkdtemp() + "/model")
    >>> og.load(folder).predict([[3.0]]).round(6).tolist()
    [7.0]
    """
    given.give(modules)
    tree = artifact.read(path, public_key=public_key)
    try:
        model = restore(tree["estimator"])
        model._reference = tree.get("reference")
        if isinstance(tree.get("fit"), Mapping):
            model.fit_record_ = record_of(tree["fit"])
        return model
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, OutgrowError):
            raise
        raise ArtifactError(
            f"{path} does not hold what its class needs: {type(error).__name__}: {error}. "
            "Restore it from a copy."
        ) from error


def _payloads(tree: Any) -> Iterator[bytes]:
    """What skops wrote, wherever it is in a tree."""
    if isinstance(tree, dict):
        if tree.keys() == {"skops"}:
            yield tree["skops"]
        else:
            yield from chain.from_iterable(map(_payloads, tree.values()))
    elif isinstance(tree, list | tuple):
        yield from chain.from_iterable(map(_payloads, tree))


def describe(estimator: Estimator) -> dict[str, Any]:
    """An estimator as a tree."""
    parameters = {name: _describe_value(value) for name, value in estimator._parameters_to_save().items()}
    learned = _describe_learned(estimator._learned_to_save())
    return {"class": class_name(type(estimator)), "parameters": parameters, "learned": learned}


def restore(tree: dict[str, Any], classes: Mapping[str, type] | None = None) -> Any:
    """The estimator that `describe` was given.

    Parameters
    ----------
    tree : class, parameters, and what was learned. Parameters may have names of earlier versions.
    classes : of users, by the name that `class_name` gives them; they are known from then on.

    Raises
    ------
    ArtifactError
        When a class is not known, or is no estimator.
    """
    Estimator.classes_by_name.update(classes or {})
    kind = _known_class(tree["class"])
    now = kind.former_parameters
    estimator = kind(**{now.get(name, name): _restore_value(v) for name, v in tree["parameters"].items()})
    estimator._trusted = foreign.is_own()
    if tree["learned"]:
        estimator._restore(_restore_learned(tree["learned"]))
    return estimator


def _known_class(name: str) -> Any:
    """An estimator of ours, or one that was imported; nothing else is imported because a model says so.

    Raises
    ------
    ArtifactError
        When it is neither, or no estimator.
    """
    name = format_1.CLASSES.get(name, name)
    module, _, kind = name.rpartition(":")
    if name not in Estimator.classes_by_name and module.startswith(_OURS):
        with suppress(ImportError):
            importlib.import_module(module)
    try:
        return Estimator.classes_by_name[name]
    except KeyError:
        raise ArtifactError(
            f"The model has a {kind}, which is not known here. Import the module that defines it"
            f"{f' ({module})' if module else ''}, then load."
        ) from None


def _describe_learned(value: Any) -> Any:
    """What was learned, with estimators that are not ours as bytes."""
    if isinstance(value, dict):
        return {key: _describe_learned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_describe_learned(item) for item in value]
    return {"skops": foreign.dump(value)} if foreign.is_foreign(value) else value


def _restore_learned(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_restore_learned(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {"skops"} and isinstance(tree["skops"], bytes):
        return foreign.load(tree["skops"])
    return {key: _restore_learned(item) for key, item in tree.items()}


def _describe_value(value: Any) -> Any:
    if isinstance(value, Estimator):
        return {"estimator": describe(value)}
    if foreign.is_foreign(value):
        return {"skops": foreign.dump(clone(value))}
    if isinstance(value, os.PathLike):
        return {"value": os.fspath(value)}
    if type(value).__name__ in _SELECTORS and is_dataclass(value):
        return {
            "selector": type(value).__name__,
            "with": {f.name: getattr(value, f.name) for f in fields(value)},
        }
    if hasattr(value, "placing") and type(value).__module__ == _FOLDS:
        names = [name for name in signature(type(value)).parameters if name != "folds" or is_dataclass(value)]
        return {"folds": type(value).__name__, "with": {name: getattr(value, name) for name in names}}
    if isinstance(value, list | tuple):
        return {"tuple" if isinstance(value, tuple) else "list": [_describe_value(item) for item in value]}
    if isinstance(value, set | frozenset):  # whatever takes one takes a list
        return _describe_value(sorted(value, key=repr))
    if isinstance(value, range) or _is_column(value):
        return {"list": [_describe_value(item) for item in value]}
    if value is None or isinstance(value, bool | int | float | str | np.ndarray | np.generic):
        return {"value": value}
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return {"value": None}  # what it gave is learned; where it stands now is no property of the model
    if _is_type_of_numbers(value):
        return {"dtype": np.dtype(value).name}
    if type(value).__name__ == "NAType":  # pandas.NA: missing, as None is
        return {"value": None}
    if isinstance(value, dict):
        return {"dict": [[key, _describe_value(item)] for key, item in value.items()]}
    if (name := functions.name_of(value)) is not None:
        return {"function": name}
    advice = " FunctionTransformer says which functions can be." if callable(value) else ""
    raise ArtifactError(
        f"A parameter holds a {type(value).__name__} ({value!r}), which cannot be saved.{advice}"
    )


def _folds(name: str, parameters: dict[str, Any]) -> Any:
    kind = getattr(importlib.import_module(_FOLDS), name, None)
    if not isinstance(kind, type) or not hasattr(kind, "placing") or name.startswith("_"):
        raise ArtifactError(f"The model names folds {name!r}, which this version does not know.")
    return kind(**parameters)


def _is_column(value: Any) -> bool:
    """Whether this is a series or an index of pandas."""
    return is_frame(value) and hasattr(value, "tolist")


def _is_type_of_numbers(value: Any) -> bool:
    if isinstance(value, np.dtype):
        return value.kind in "iuf"
    return isinstance(value, type) and issubclass(value, np.number | int | float)


def _restore_value(tree: dict[str, Any]) -> Any:
    if "estimator" in tree:
        return restore(tree["estimator"])
    if "skops" in tree:
        return foreign.load(tree["skops"])
    if "selector" in tree:
        return _SELECTORS[tree["selector"]](**tree["with"])
    if "folds" in tree:
        return _folds(tree["folds"], tree["with"])
    if "function" in tree:
        return functions.function_of(tree["function"])
    if "tuple" in tree:
        return tuple(map(_restore_value, tree["tuple"]))
    if "list" in tree:
        return list(map(_restore_value, tree["list"]))
    if "dtype" in tree:
        return np.dtype(tree["dtype"]).type
    if "dict" in tree:
        return {key: _restore_value(value) for key, value in tree["dict"]}
    return tree["value"]
