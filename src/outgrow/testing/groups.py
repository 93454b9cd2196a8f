"""What an estimator must satisfy that is fitted for many groups at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import clone

from outgrow.groups.per_group import PerGroup
from outgrow.ml.core.estimator import Estimator
from outgrow.testing.engines import EngineCase
from outgrow.testing.rows import answers, compare, fitted, sample_rows


def groups_learn_what_each_would_alone(estimator: Estimator, engine: EngineCase) -> None:
    """The closed form for all groups gives each of them what a fit of its own rows gives.

    Parameters
    ----------
    estimator : not fitted; nothing is checked of one without a closed form.
    engine : holds the rows of all groups.
    """
    if estimator._group_form() is None:
        return
    table, target = sample_rows(estimator)
    table = table.append_column("key", pa.array(np.arange(table.num_rows) ** 2 % 5))
    together = fitted(PerGroup(clone(estimator), by=["key"]), engine.open(table), target)
    for key in (0, 1, 4):
        rows = table.filter(pc.equal(table["key"], key))
        alone = fitted(clone(estimator), rows.drop(["key"]), target)
        expected = answers(alone, rows.drop(["key"]))
        actual = answers(together, rows)
        compare({name: actual[name] for name in expected}, expected, 1e-9)
