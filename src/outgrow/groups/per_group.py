"""One model for each key."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.keys import key_column, key_hash
from outgrow.data.scan import check_columns
from outgrow.engine.activity import activity
from outgrow.engine.checks import check_numeric
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset as open_dataset
from outgrow.engine.seen import Seen
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.groups.answers import GroupAnswers, transforms
from outgrow.groups.evaluation import GroupEvaluation
from outgrow.groups.group_estimator import GroupEstimator, group_estimator_of
from outgrow.groups.learning import GroupLearner
from outgrow.groups.plan import (
    AUTO,
    LARGE_GROUPS,
    PARALLEL,
    SAMPLE,
    TOGETHER,
    GroupPlan,
    Policy,
    count_groups,
)
from outgrow.groups.routing import ERROR, GLOBAL, UNSEEN, Router
from outgrow.groups.store import Models, RaggedModels, StackedModels, find
from outgrow.groups.summary import NAMES
from outgrow.ml.base import Model
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.groups import GroupForm
from outgrow.ml.core.inputs import Training, open_training
from outgrow.ml.core.parameters import Integer, OneOf, Such, described
from outgrow.ml.core.scoring import CLASSES, DENSITIES, DISTANCES, MARGINS, NUMBERS, PROBABILITIES, Scoring
from outgrow.ml.core.task import Task
from outgrow.ml.foreign import check_loadable, is_foreign
from outgrow.ml.grouped import forms_of
from outgrow.ml.persistence import describe, restore
from outgrow.ml.steps import steps_of

_JUDGED = {"clusterer": DISTANCES, "density_estimator": DENSITIES}


class PerGroup(GroupEvaluation, GroupAnswers, Model):
    """Fit one model for each key, and let the key of a row choose the model that answers for it.

    Estimators with a closed form over numeric features (`LinearRegression`, `Ridge`, `DummyRegressor`, and
    pipelines of them behind `SimpleImputer(strategy="mean")` and `StandardScaler`) are solved for all groups
    together, one pass for each step: no rows move, and a group that holds half of them is no more work than
    any other. All other estimators, scikit-learn's too, are fitted one group after the other: rows are
    gathered in bins of groups that are about equally large, and bins are worked on side by side.

    Parameters
    ----------
    estimator : an estimator or pipeline of outgrow or scikit-learn; it is not changed.
    by : the key columns. They are no features.
    min_rows : groups with fewer rows get no model.
    unseen : what rows get whose key has no model: 'error', 'null' for no prediction, or 'global' for that of
        a model of all rows, which is then fitted too.
    large_groups : what is done with groups of more than `large_group_rows` rows where groups are fitted one
        by one: 'parallel' trains each data-parallel, as an ordinary fit over its rows; 'sample' takes about
        `large_group_rows` of them, chosen by their hashes; 'together' treats them as any other. 'auto' is
        'parallel' for estimators of outgrow and 'together' for others.
    large_group_rows : by default what each of the calls that run at once has to do, and at least 100,000.
    checkpoint : folder for what was fitted one by one; a fit of the same that is called again with the same
        folder does only what is missing there. On Spark all executors must reach it.

    Attributes
    ----------
    groups_ : Arrow table, a row a group: the key, `rows`, `status` ('ok', 'failed' or 'too few rows'),
        `error`, the metrics on the rows learned from, and `seconds` (of groups that are solved together, an
        equal share).
    features_ : list of the columns the models learn from.
    classes_ : of classifiers, ndarray of the classes of all groups.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
    ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
    >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
    >>> model.predict(pa.table({"shop": ["b", "a"], "price": [3.0, 3.0]}))["prediction"].to_pylist()
    [4.0, 2.0]
    """

    former_parameters: ClassVar[dict[str, str]] = {
        "giants": "large_groups",
        "giant_rows": "large_group_rows",
    }

    parameters = {
        "estimator": Such(
            "an estimator or a pipeline of outgrow or scikit-learn",
            lambda value: isinstance(value, BaseEstimator),
        ),
        "by": described("the names of key columns, each once"),
        "min_rows": Integer(low=1),
        "unseen": OneOf(*UNSEEN),
        "large_groups": OneOf(*LARGE_GROUPS),
        "large_group_rows": Integer(low=1) | None,
        "checkpoint": described("a folder or None"),
    }

    def __init__(
        self,
        estimator: Any,
        by: Sequence[str],
        *,
        min_rows: int = 1,
        unseen: str = ERROR,
        large_groups: str = AUTO,
        large_group_rows: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self.estimator = estimator
        self.by = by
        self.min_rows = min_rows
        self.unseen = unseen
        self.large_groups = large_groups
        self.large_group_rows = large_group_rows
        self.checkpoint = checkpoint

    # ---- learn -------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn a model for each key.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns), with the key columns.
        y : the name of a column of X, or an array of shape (rows,).
        sample_weight : the name of a column of X, or an array of shape (rows,).

        Raises
        ------
        DataError
            When no group could be fitted; `groups_` then says why.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
        ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
        >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
        >>> model.groups_.select(["shop", "rows", "status"]).to_pylist()[0]
        {'shop': 'a', 'rows': 2, 'status': 'ok'}
        """
        self.check_parameters()
        data = open_training(self, X, y, sample_weight)
        with activity("fit", self, data=data.dataset, target=data.target, weight=data.weight):
            self._learn_groups(data)
        return self

    def _learn_groups(self, data: Training) -> None:
        task = self._task(data)
        rows = data.dataset.select([*self._keys, *task.columns, *data.beside])
        seen = Seen(rows.scan)
        learner = GroupLearner(
            self.estimator, rows, task, self._kinds, self._policy, self.checkpoint, self._stage
        )
        forms = self._forms(rows, task)
        if forms is not None:
            learnt = learner.at_once(forms, lambda: self._identity(task))
        else:
            learnt = learner.one_by_one()
        self.groups_ = learnt.groups
        if learnt.classes is not None:
            self.classes_ = learnt.classes
        if learnt.record is not None:
            self.fit_record_ = replace(learnt.record, data=seen.close())
        learnt.check(self.min_rows)
        self._trusted = True
        self._route(learnt.models, learner.on_all_rows() if self.unseen == GLOBAL else None)

    def plan(self, X: Any, y: str | None = None, sample_weight: str | None = None) -> GroupPlan:
        """What `fit` would do with these rows; reads the key columns alone.

        Parameters
        ----------
        X : as for `fit`.
        y, sample_weight : the columns of X that are no features.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = pa.table({"shop": ["a", "a", "b"], "price": [1.0, 2.0, 1.0]})
        >>> og.PerGroup(og.Ridge(), by=["shop"]).plan(rows)
        2 groups of 3 rows, fitted at once
        rows of a group: 1 to 2, median 1, 95 % have at most 2
        """
        self.check_parameters()
        rows = open_dataset(X)
        check_columns(rows.schema, self._keys)
        features = [name for name in rows.columns if name not in (*self._keys, y, sample_weight)]
        counts, policy = count_groups(rows, self._keys, stage=self._stage), self._policy
        slots, bins = rows.engine.slots, None
        if forms_of(self.estimator, rows.scan.example(), features) is None:
            together = policy.chosen(counts) & ~policy.apart(counts, slots)
            bins = policy.packing(counts, together, rows).count
        return policy.plan(counts, slots, bins)

    def _check_parameters(self) -> None:
        keys = self._keys
        twice = sorted({name for name in keys if keys.count(name) > 1})
        if not keys or twice or not all(isinstance(name, str) for name in keys):
            raise ParameterError(f"PerGroup(by={self.by!r}): give the names of key columns, each once.")
        if taken := [name for name in keys if name in NAMES]:
            raise SchemaError(
                f"PerGroup(by={self.by!r}): tables of groups have columns {taken} of their own. "
                "Rename those keys."
            )
        is_outgrow = isinstance(self.estimator, Estimator)
        if self.large_groups == PARALLEL and not is_outgrow:
            raise ParameterError(
                f"PerGroup(large_groups={PARALLEL!r}): a {type(self.estimator).__name__} of scikit-learn "
                f"cannot be trained data-parallel. Choose {SAMPLE!r} or {TOGETHER!r}."
            )
        if is_outgrow:
            self.estimator.check_parameters()
            self._refuse_roles()

    def _refuse_roles(self) -> None:
        model = steps_of(self.estimator)[-1]
        if needed := [role for role, needs in getattr(model, "roles", {}).items() if needs]:
            raise ParameterError(
                f"PerGroup({type(model).__name__}()): it learns from {needed} beside y and sample_weight, "
                "which no group has here. Fit one model for all rows, with the keys among the features."
            )

    @property
    def _stage(self) -> str:
        return f"fit PerGroup({type(self.estimator).__name__})"

    def _task(self, data: Training) -> Task:
        """The columns of this fit, checked; notes `features_`."""
        schema, keys = data.dataset.schema, self._keys
        check_columns(schema, keys)
        for what, name in (("y", data.target), ("sample_weight", data.weight)):
            if name in keys:
                raise ParameterError(f"{name!r} is given as {what} and as a key. It can be only one of them.")
        example = data.dataset.scan.example()
        for name in keys:
            key_column(example, name)
        self.features_ = [name for name in self.columns_ if name not in keys]
        if not self.features_:
            raise SchemaError(f"There are no feature columns beside the keys {list(keys)}.")
        if data.target is not None and not self._is_classifier and get_tags(self).target_tags.required:
            kind = schema.field(data.target).type
            if not is_numeric(kind):
                raise SchemaError(f"The target {data.target!r} has type {kind}; a regression needs numbers.")
        if data.weight is not None:
            check_numeric(example, [data.weight])
        return Task(data.target, data.weight, tuple(self.features_))

    def _forms(self, rows: Dataset, task: Task) -> Sequence[GroupForm] | None:
        changes = transforms(self.estimator)
        if task.target is None and not changes:
            return None
        forms = forms_of(self.estimator, rows.scan.example(), self.features_)
        if forms is None and changes:
            raise ParameterError(
                f"PerGroup({self.estimator!r}) cannot change the columns {self._kinds} by key. It can with "
                "StandardScaler and SimpleImputer(strategy='mean'), where all columns beside the keys are "
                "numbers: select those, or fit one transformer for all rows."
            )
        return forms

    @property
    def _kinds(self) -> dict[str, str]:
        """The kind of each feature."""
        return {name: self.columns_[name] for name in self.features_}

    @property
    def _policy(self) -> Policy:
        fate = self.large_groups
        if fate == AUTO:
            fate = PARALLEL if isinstance(self.estimator, Estimator) else TOGETHER
        return Policy(self._keys, self.min_rows, fate, self.large_group_rows)

    def _group_estimator(self) -> GroupEstimator:
        return group_estimator_of(self.estimator, self._kinds, trusted=self._trusted)

    def _route(self, models: Models, whole: Any) -> None:
        self._router = Router(
            models,
            self._keys,
            tuple(self.features_),
            self.unseen,
            whole,
            self._group_estimator(),
            getattr(self, "classes_", None),
        )

    # ---- answer ------------------------------------------------------------------------------------------

    def model_of(self, *key: Any) -> Any:
        """The fitted estimator of one key.

        Raises
        ------
        DataError
            When the key has no model.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
        ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
        >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
        >>> model.model_of("b").coef_.round(6).tolist()
        [-2.0]
        """
        check_is_fitted(self)
        if len(key) != len(self._keys):
            raise ParameterError(f"A key has the parts {list(self._keys)}; {list(key)} was given.")
        arrays = {name: pa.array([part]) for name, part in zip(self._keys, key, strict=True)}
        models = self._router.models
        (model_index,) = find(models.hashes, key_hash(Batch(arrays, 1), self._keys))
        if model_index < 0:
            raise DataError(f"There is no model for the key {list(key)}. See groups_ for those there are.")
        return models.model(int(model_index))

    @property
    def _scoring(self) -> Scoring:  # type: ignore[override]
        """As its estimator is judged."""
        if not self._is_classifier:
            return _JUDGED.get(get_tags(self.estimator).estimator_type, NUMBERS)
        if hasattr(self.estimator, "predict_proba"):
            return PROBABILITIES
        return MARGINS if hasattr(self.estimator, "decision_function") else CLASSES

    # ---- save ----------------------------------------------------------------------------------------------

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        input_example: Any = None,
        reference: Any = None,
        overwrite: bool = False,
        key: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write the models of all groups as one directory, whole or not at all; see `Estimator.save`.

        Parameters
        ----------
        path : the directory.
        input_example : rows of which the first is kept with the model, as an example of its input.
        reference : the rows that it learned from, or an `og.Reference` of them, kept for `og.drift`.
        overwrite : replace a model that is there.
        key : the file with a private key that signs the model.

        Raises
        ------
        ArtifactError
            When the models are of scikit-learn, and hold objects that skops does not know to be harmless.

        Examples
        --------
        >>> import tempfile, pyarrow as pa, outgrow as og
        >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
        ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
        >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
        >>> path = tempfile.mkdtemp() + "/model"
        >>> model.save(path)
        >>> og.load(path).predict(sales)["prediction"].to_pylist()
        [4.0, 3.0, 8.0, 6.0]
        """
        check_is_fitted(self)
        models = self._router.models
        if isinstance(models, RaggedModels) and is_foreign(self.estimator):
            check_loadable(models.first())
        super().save(path, input_example=input_example, reference=reference, overwrite=overwrite, key=key)

    def _learned(self) -> dict[str, Any]:
        promised = ("columns_", "n_features_in_", "feature_names_in_", "target_column_", "input_example_")
        names = (*promised, "features_", "classes_")
        learned = {name: getattr(self, name) for name in names if hasattr(self, name)}
        if not hasattr(self, "groups_"):
            return learned
        return {
            **learned,
            "groups_": _to_stream(self.groups_),
            "models_": self._router.models.to_tree(),
            "global_": self._dumped_whole(),
        }

    def _dumped_whole(self) -> Any:
        whole = self._router.whole
        if whole is None or isinstance(whole, Estimator):
            return whole if whole is None else describe(whole)
        return self._group_estimator().dump(whole)

    def _restore(self, learned: dict[str, Any]) -> None:
        plain = dict(learned)
        groups, stored, whole = (plain.pop(name) for name in ("groups_", "models_", "global_"))
        super()._restore(plain)
        self.groups_ = pa.ipc.open_stream(groups).read_all()
        group_estimator, models = self._group_estimator(), dict(stored)
        if "steps" in stored:
            held: Models = StackedModels.of(self.estimator, self.features_, **models)
        else:
            held = RaggedModels(
                **models, group_estimator=group_estimator, classes=getattr(self, "classes_", None)
            )
        if isinstance(whole, dict):
            whole = restore(whole)
        elif whole is not None:
            whole = group_estimator.load(whole)
        self._route(held, whole)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "groups_")

    def __sklearn_tags__(self) -> Any:
        tags, estimator_tags = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = estimator_tags.estimator_type
        tags.target_tags = estimator_tags.target_tags
        tags.classifier_tags, tags.regressor_tags = (
            estimator_tags.classifier_tags,
            estimator_tags.regressor_tags,
        )
        tags.input_tags.allow_nan = estimator_tags.input_tags.allow_nan
        tags.input_tags.sparse = False
        return tags


def _to_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
