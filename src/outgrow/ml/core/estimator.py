"""The contract of an estimator: parameters of scikit-learn's kind, hooks, and what it has learned.

A transformer implements `_fit(shard, names, task)` and `_transform_columns(batch, names)`; a model implements
`_fit(view)` and `_predict(X)` or `_predict_proba(X)`. Both may implement exports: `_to_onnx`, `_to_sklearn`.
Opening data, choosing the engine, checking columns, giving results in the form of the input and saving are
written once, in `outgrow.ml.base`.

`_fit` sets attributes that end in an underscore; they are what is saved, and all that a cluster sends back.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from outgrow.data.kind import Kind, read_kinds
from outgrow.engine.shard import Shard
from outgrow.errors import ArtifactError
from outgrow.ml.core.exports import no_equal
from outgrow.ml.core.groups import GroupForm
from outgrow.ml.core.parameters import Domain
from outgrow.ml.core.roles import checked_roles
from outgrow.ml.core.task import Task

_NAMES: dict[type, tuple[str, ...]] = {}
"""The names of the parameters of classes; a fit asks for them several times."""


_CHECKED: dict[type, list[tuple[type, Any]]] = {}
"""The plain values of parameters that classes were last checked with: fits mostly have those again."""
_PLAIN = frozenset({type(None), bool, int, float, str})


def is_plain(parameters: Mapping[str, Any]) -> bool:
    """Whether all values are such as nobody can change."""
    return all(type(value) in _PLAIN for value in parameters.values())


def _parameter_names(kind: type) -> tuple[str, ...]:
    if kind not in _NAMES:
        known = signature(kind).parameters.values()
        _NAMES[kind] = tuple(sorted(each.name for each in known if each.kind != each.VAR_KEYWORD))
    return _NAMES[kind]


class Estimator(BaseEstimator):
    """The base of all estimators; subclasses give their parameters in `__init__` and implement the hooks."""

    parameters: ClassVar[Mapping[str, Domain]] = MappingProxyType({})
    """The values each parameter may have. What is not here is not checked."""

    test_parameters: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Parameters to test it with, where its defaults take long or do not suit a small table."""

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> Mapping[str, Any] | None:
        """Columns `a`, `b` and `c` to test it with; None for numbers, or categories where its tags say so.

        Parameters
        ----------
        random : what they are made of.
        rows : how many values each has.
        """
        return None

    ranks_differ: ClassVar[dict[str, str]] = {}
    """Checks of `outgrow.testing` that do not hold on several ranks, with the reason."""

    exempt: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Checks of `outgrow.testing` that do not hold, with the reason."""

    expected_failed_checks: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Checks of scikit-learn's `check_estimator` that do not hold, with the reason."""

    no_exports: ClassVar[dict[str, str]] = {}
    """Forms that cannot hold this exactly, 'ONNX' or 'scikit-learn', with the reason."""

    _export_tolerance: ClassVar[float] = 1e-12
    """How far, relatively, what an export answers may be off: it rounds in another order."""

    former_parameters: ClassVar[dict[str, str]] = {}
    """Names of parameters in models that were saved before these had their present names."""

    @property
    def _columns_by_name(self) -> bool:
        """Whether DataFrames may have columns in any order, and further ones."""
        return False

    def _unused_columns(self) -> list[str]:
        """Columns of the fit that later calls need not bring."""
        return []

    _frees_lock: ClassVar[bool] = False
    """Whether Python's lock is free while it learns, so that threads suffice to learn several at once."""

    _follows_type: tuple[str, ...] = ()
    """Learned arrays that are float32 where the fit was given an array of float32, as in scikit-learn."""

    _trusted: bool = True
    """Whether this session made what it holds; what was loaded stays a stranger's wherever it goes."""

    classes_by_name: ClassVar[dict[str, type[Estimator]]] = {}
    """All classes there are by now, as `module:qualname`, as saved models name them."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Estimator.classes_by_name[class_name(cls)] = cls

    # ---- hooks -------------------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        """Raise ParameterError for values that cannot be together; each is in its domain here."""

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        """Learn from the rows of a shard by setting attributes that end in an underscore."""
        raise NotImplementedError

    def _given_roles(self, given: dict[str, Any]) -> dict[str, Any]:
        """What else than its columns this learns from, of what a verb was given; see `checked_roles`."""
        return checked_roles({}, given, f"{type(self).__name__}.fit")

    def _restored(self) -> None:
        """Called after learned attributes were set from outside."""

    def _group_form(self) -> GroupForm | None:
        """How this is fitted for many groups at once; None where each has to be fitted by itself."""
        return None

    def _to_onnx(self, table: Any) -> Any:
        """In a graph of ONNX: the columns after this transformer, or the answer of this model.

        Parameters
        ----------
        table : `outgrow.ml.export.onnx.table.Table`, the columns as they reach it.

        Returns
        -------
        A `Table`, or of a model an `outgrow.ml.export.onnx.answer.Answer`.
        """
        raise no_equal(self, "ONNX")

    def _to_sklearn(self, name: str, flow: Any) -> Any:
        """In a pipeline of scikit-learn: the steps with the equal of this one behind them, called `name`.

        Parameters
        ----------
        flow : `outgrow.ml.export.sklearn.flow.Flow`, the fitted steps before it.
        """
        raise no_equal(self, "scikit-learn")

    # ---- what hooks stand on -----------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, as scikit-learn has them.

        Parameters
        ----------
        deep : also those of estimators that are parameters.
        """
        if deep:
            return super().get_params(deep=True)
        return {name: getattr(self, name) for name in _parameter_names(type(self))}

    def check_parameters(self) -> None:
        """Check the values of all parameters, as a fit does before it reads any data.

        Raises
        ------
        ParameterError
            When one cannot be, or several cannot be together.

        Examples
        --------
        >>> import outgrow as og
        >>> og.KMeans(n_clusters=0).check_parameters()
        Traceback (most recent call last):
        ...
        outgrow.errors.ParameterError: KMeans(n_clusters=0): n_clusters must be a whole number of at least 1.
        """
        parameters = self.get_params(deep=False)
        values = [(type(value), value) for value in parameters.values()] if is_plain(parameters) else None
        if values is None or _CHECKED.get(type(self)) != values:
            for name, value in parameters.items():
                self.check_parameter(name, value)
            if values is not None:
                _CHECKED[type(self)] = values
        self._check_parameters()

    @classmethod
    def check_parameter(cls, name: str, value: Any) -> None:
        """Check a value that a parameter is to have.

        Parameters
        ----------
        name : the parameter; one that the class does not declare may have any value.
        value : what it is to be.

        Raises
        ------
        ParameterError
            When it cannot be.

        Examples
        --------
        >>> import outgrow as og
        >>> og.KMeans.check_parameter("n_init", "auto")
        """
        if name in cls.parameters:
            cls.parameters[name].check(cls.__name__, name, value)

    @classmethod
    def takes_parameter(cls, name: str) -> bool:
        """Whether there is a parameter of this name.

        Parameters
        ----------
        name : as `set_params` takes it.
        """
        return name in _parameter_names(cls)

    @property
    def active_steps(self) -> list[tuple[str, Any]]:
        """What rows go through: this estimator alone, or the steps of a pipeline, with their names."""
        return [(type(self).__name__.lower(), self)]

    @property
    def _exported(self) -> Any:
        """The object that an error of an export names."""
        return self

    def _learned(self) -> dict[str, Any]:
        """What was learned, as an artifact can store it."""
        return {
            name: value
            for name, value in sorted(vars(self).items())
            if name.endswith("_") and not name.startswith("_") and name != "fit_record_"
        }

    def _parameters_to_save(self) -> dict[str, Any]:
        """The parameters, as an artifact can store them."""
        return self.get_params(deep=False)

    def _learned_to_save(self) -> dict[str, Any]:
        """What was learned, and what is made of it for those who load it."""
        return self._learned()

    def _expect(self, columns: dict[str, Kind]) -> None:
        """Note the columns (name to kind) that later calls must bring."""
        self.columns_ = columns
        self.n_features_in_ = len(columns)
        self.feature_names_in_ = np.array(list(columns), dtype=object)

    def _restore(self, learned: dict[str, Any]) -> None:
        other = [name for name in learned if name.startswith("_") or not name.endswith("_")]
        if other:
            raise ArtifactError(f"A {type(self).__name__} learns nothing that is called {other}.")
        self.__dict__.update(learned)
        if "columns_" in learned:
            self.columns_ = read_kinds(learned["columns_"])
        if hasattr(self, "columns_") and hasattr(self, "feature_names_in_"):
            unused = self._unused_columns()
            self.columns_ = {name: kind for name, kind in self.columns_.items() if name not in unused}
        self._restored()


def class_name(kind: type) -> str:
    """A class as saved models name it: its module and its name."""
    return f"{kind.__module__}:{kind.__qualname__}"
