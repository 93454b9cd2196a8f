"""Libraries that a process which only predicts imports when it first uses them, if it ever does.

Estimators are classes of scikit-learn's kind, and much of what fits and reads files imports SciPy and parts
of Arrow, which cost more than a second and a hundred megabytes. A prediction needs little of it. In a process
that says so first, the modules of this package get stand-ins for those libraries in place of them; nobody
else's imports change.
"""

from __future__ import annotations

import builtins
import copy
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from importlib.machinery import ModuleSpec, PathFinder
from inspect import signature
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

import numpy as np

from outgrow.errors import OutgrowError

LIBRARIES = {
    "datasketches",
    "joblib",
    "narwhals",
    "pandas",
    "pyarrow.dataset",
    "pyarrow.fs",
    "pyarrow.parquet",
    "scipy",
    "sklearn",
}
"""What is deferred, each with all that is below it."""
_WITHOUT: dict[str, Any] = {"scipy.sparse.issparse": False, "pyarrow.dataset.Dataset": False}
"""What functions answer while their library is not loaded: nobody can have made such an object."""
_FEW = 1_000
"""How many values a loop of Python takes for SciPy."""
_PACKAGE = f"{__name__.partition('.')[0]}."


_LEARNING = ("fit", "fit_predict", "fit_transform", "partial_fit")


def _refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise OutgrowError(
        f"A {type(self).__name__} cannot learn in this process: outgrow.serve.lean made it one that only "
        "predicts. Fit in a process that imports outgrow alone."
    )


class PredictsOnly:
    """What estimators have in place of scikit-learn's base class, in a process that only predicts."""

    _estimator_type: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _LEARNING:
            if hasattr(cls, name):
                setattr(cls, name, _refuse)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name, as scikit-learn gives them.

        Parameters
        ----------
        deep : whether those of parameters that are estimators are there, too.
        """
        names = [name for name in signature(type(self).__init__).parameters if name != "self"]
        params = {name: getattr(self, name) for name in names}
        for name, value in list(params.items()) if deep else ():
            if hasattr(value, "get_params") and not isinstance(value, type):
                params |= {f"{name}__{below}": inner for below, inner in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> PredictsOnly:
        """Set parameters by name; those of a parameter that is an estimator have its name and `__` before."""
        for name, value in params.items():
            first, nested, rest = name.partition("__")
            if nested:
                getattr(self, first).set_params(**{rest: value})
            else:
                setattr(self, first, value)
        return self

    def __sklearn_clone__(self) -> Any:
        params = self.get_params(deep=False)
        return type(self)(**{name: clone(value, safe=False) for name, value in params.items()})

    def __sklearn_tags__(self) -> Any:
        tags = resolve_name("sklearn.base.BaseEstimator").__sklearn_tags__(self)
        tags.estimator_type = self._estimator_type
        return tags

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def clone(estimator: Any, *, safe: bool = True) -> Any:
    """A new estimator of the same parameters; of those of other libraries, scikit-learn's own clone.

    Parameters
    ----------
    estimator : or a list or tuple of them.
    safe : whether what is no estimator is refused rather than copied.
    """
    if isinstance(estimator, list | tuple):
        return type(estimator)([clone(value, safe=safe) for value in estimator])
    if isinstance(estimator, PredictsOnly):
        return estimator.__sklearn_clone__()
    if hasattr(estimator, "get_params") or safe:
        return resolve_name("sklearn.base.clone")(estimator, safe=safe)
    return copy.deepcopy(estimator)


def _mixin(name: str, kind: str | None) -> type:
    return type(name, (), {} if kind is None else {"_estimator_type": kind})


class AvailableIf:
    """A method that an object has if a check of it passes, as scikit-learn's `available_if` makes them."""

    def __init__(self, method: Any, check: Callable[[Any], bool]) -> None:
        self._method = method
        self._check = check

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is not None and not self._check(instance):
            raise AttributeError(f"{type(instance).__name__} has no {self._method.__name__!r}.")
        return self._method.__get__(instance, owner)


def expit(values: Any) -> Any:
    """The logistic function, to the bit as SciPy has it; of many values, SciPy's.

    Parameters
    ----------
    values : of any shape.
    """
    if np.size(values) > _FEW or np.asarray(values).dtype != np.float64:
        return resolve_name("scipy.special.expit")(values)
    return np.array([_logistic(value) for value in np.ravel(values).tolist()]).reshape(np.shape(values))


def _logistic(value: float) -> float:
    try:
        return 1.0 / (1.0 + math.exp(-value))
    except OverflowError:  # the exponential is past all numbers
        return 0.0


def softmax(values: Any, axis: int | None = None) -> Any:
    """Exponentials as shares of their sums, to the bit as SciPy has it.

    Parameters
    ----------
    values : of any shape.
    axis : along which the shares add up to one.
    """
    powers = np.exp(values - np.max(values, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


_BASES: dict[str, type] = {
    "sklearn.base.BaseEstimator": PredictsOnly,
    "sklearn.base.ClassifierMixin": _mixin("ClassifierMixin", "classifier"),
    "sklearn.base.ClusterMixin": _mixin("ClusterMixin", "clusterer"),
    "sklearn.base.DensityMixin": _mixin("DensityMixin", "density_estimator"),
    "sklearn.base.OutlierMixin": _mixin("OutlierMixin", "outlier_detector"),
    "sklearn.base.RegressorMixin": _mixin("RegressorMixin", "regressor"),
    "sklearn.base.TransformerMixin": _mixin("TransformerMixin", None),
}
"""What classes have as their bases in place of these."""
_STAND_INS: dict[str, Any] = {
    "sklearn.base.clone": clone,
    "sklearn.utils.metaestimators.available_if": lambda check: lambda method: AvailableIf(method, check),
    "scipy.special.expit": expit,
    "scipy.special.softmax": softmax,
}
"""What is so small that it is not worth its library."""


class Deferred:
    """A module, or what is in one, imported when it is called, iterated over or asked for a private name.

    Classes can be asked whether an object is one of theirs, and be bases, without that.
    """

    def __init__(self, name: str) -> None:
        self.__dict__.update(_name=name, _real=None)

    def _resolve(self) -> Any:
        if self._real is None:
            self.__dict__["_real"] = resolve_name(self._name)
        return self._real

    @property
    def _loaded(self) -> bool:
        """Whether anybody has imported the module that this is, or is in."""
        return self._name in sys.modules or self._name.rpartition(".")[0] in sys.modules

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name.isupper():
            return getattr(self._resolve(), name)
        below = f"{self._name}.{name}"
        child = self.__dict__[name] = _STAND_INS.get(below) or Deferred(below)
        return child

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._name in _WITHOUT and not self._loaded:
            return _WITHOUT[self._name]
        return self._resolve()(*args, **kwargs)

    def __instancecheck__(self, instance: Any) -> bool:
        return self.__subclasscheck__(type(instance))

    def __subclasscheck__(self, kind: type) -> bool:
        base = _BASES.get(self._name)
        ours = base is not None and issubclass(kind, base)
        return ours or (self._loaded and issubclass(kind, self._resolve()))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        if self._name.startswith(_PACKAGE):
            return (self._resolve(),)
        return (_BASES[self._name],) if self._name in _BASES else ()

    def __or__(self, other: Any) -> Any:
        return Any

    __ror__ = __or__

    def __iter__(self) -> Iterator[Any]:
        return iter(self._resolve())

    def __contains__(self, value: Any) -> bool:
        return value in self._resolve()

    def __len__(self) -> int:
        return len(self._resolve())

    def __getitem__(self, key: Any) -> Any:
        return self._resolve()[key]

    def __repr__(self) -> str:
        return f"<{self._name}, not imported yet>"


class Beside:
    """A module that is loaded, and deferred ones below it."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        below = f"{self._module.__name__}.{name}"
        return Deferred(below) if below in LIBRARIES else getattr(self._module, name)


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    top, *below = name.split(".")
    if top in LIBRARIES:
        return Deferred(name if fromlist else top)
    if below and any(name == library or name.startswith(f"{library}.") for library in LIBRARIES):
        return Deferred(name) if fromlist else Beside(builtins.__import__(top))
    module = builtins.__import__(name, globals, locals, fromlist, level)
    deferred = any(f"{name}.{wanted}" in LIBRARIES for wanted in fromlist or ())
    return Beside(module) if deferred else module


_BUILTINS = {**vars(builtins), "__import__": _import}


class _Finder:
    """Finds the modules of this package, which are then executed with an import statement of their own."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if not name.startswith(_PACKAGE):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _deferring(spec.loader.exec_module)  # type: ignore[assignment,method-assign]
        return spec


def _deferring(execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    @wraps(execute)
    def run(module: ModuleType) -> None:
        module.__dict__["__builtins__"] = _BUILTINS
        execute(module)

    return run


class _NoPandas:
    """Lets an import of pandas fail."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if name == "pandas":
            raise ImportError(name, name=name)


def defer(also: Iterable[str] = ()) -> None:
    """Defer the heavy libraries in all modules of this package that are imported from now on.

    Parameters
    ----------
    also : modules of this package that are deferred like them.
    """
    LIBRARIES.update(also)
    if _Finder in sys.meta_path:
        return
    if "pandas" not in sys.modules:
        import pyarrow

        sys.meta_path.insert(0, _NoPandas)
        pyarrow.array([])  # it looks once, and remembers that there is no pandas
        sys.meta_path.remove(_NoPandas)
    sys.meta_path.insert(0, _Finder)
