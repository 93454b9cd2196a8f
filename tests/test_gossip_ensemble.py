"""Ensembles whose members each learned from rows that did not move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone

import outgrow as og
from federations import federate, leaked
from outgrow.errors import DataError, ExportError, ParameterError, PrivacyError
from outgrow.federation.policy import Policy

CONSENT = Policy(allow_values=["SiteModels"])


def tables(sizes: tuple[int, ...] = (150, 90, 210)) -> list[pa.Table]:
    random, parts = np.random.default_rng(7), []
    for number, size in enumerate(sizes):
        X = random.normal(0.3 * number, 1.0, size=(size, 3))
        late = np.where(X[:, 0] * X[:, 1] + X[:, 2] > 0, "yes", "no")
        parts.append(pa.table({"hour": X[:, 0], "wind": X[:, 1], "rain": X[:, 2], "late": late}))
    return parts


@pytest.mark.parametrize(
    "inner",
    [
        og.RandomForestClassifier(n_estimators=5, random_state=2),
        og.Pipeline([og.StandardScaler(), og.LogisticRegression(class_weight={"yes": 3.0, "no": 1.0})]),
    ],
    ids=lambda inner: type(inner).__name__,
)
def test_members_are_what_each_site_learns_alone(inner: Any) -> None:
    parts = tables()
    found = federate(lambda rows: og.GossipEnsemble(clone(inner)).fit(rows, "late"), parts, CONSENT)
    assert found.errors == {}
    whole = pa.concat_tables(parts).to_pandas()
    alone = [clone(inner).fit(part, "late").predict_proba(whole) for part in parts]
    expected = np.average(alone, axis=0, weights=[part.num_rows for part in parts])
    for model in (found.model, *found.site_models):
        np.testing.assert_allclose(model.predict_proba(whole), expected, rtol=1e-12)
        assert model.ranks_.tolist() == [1, 2, 3]
    if isinstance(inner, og.Pipeline):
        assert leaked(found, parts) == set()


def test_a_last_model_learns_over_all_sites_whom_to_trust() -> None:
    parts = tables((400, 600))
    noise = np.random.default_rng(0).permutation(np.array(parts[0]["late"]))
    parts[0] = parts[0].set_column(3, "late", pa.array(noise))
    trees = og.DecisionTreeClassifier(max_depth=5)
    found = federate(lambda rows: og.GossipEnsemble(trees, combine="stack").fit(rows, "late"), parts, CONSENT)
    assert found.errors == {}
    noisy, right = found.model.final_estimator_.coef_[0]
    assert right > 5 * abs(noisy)
    rows = parts[1].to_pandas()
    assert (found.site_models[1].predict_proba(rows) == found.model.predict_proba(rows)).all()


def test_a_model_leaves_with_consent_alone_and_with_rows_in_it_never() -> None:
    parts = tables()
    refused = federate(lambda rows: og.GossipEnsemble(og.GaussianNB()).fit(rows, "late"), parts)
    assert "the whole model that it learned by itself" in str(refused.errors[1])
    neighbours = og.Pipeline([og.StandardScaler(), og.KNeighborsClassifier()])
    found = federate(
        lambda rows: og.GossipEnsemble(neighbours).fit(rows, "late"), parts, Policy(allow_values=True)
    )
    assert isinstance(found.errors[1], PrivacyError)
    assert "k_neighbors_classifier" in str(found.errors[1])
    assert leaked(refused, parts) == leaked(found, parts) == set()


def test_one_rank_gives_the_plain_model() -> None:
    rows = tables((200,))[0]
    plain = og.GaussianNB().fit(rows, "late")
    model = og.GossipEnsemble(og.GaussianNB()).fit(rows, "late")
    frame = rows.to_pandas()
    assert (model.predict_proba(frame) == plain.predict_proba(frame)).all()


def test_members_lack_the_classes_that_their_rows_lack() -> None:
    parts = tables()
    some = [parts[0].filter(pa.array(np.array(parts[0]["late"]) == "no")), *parts[1:]]
    some[1] = some[1].set_column(3, "late", pa.array(np.where(np.arange(90) % 3, "yes", "perhaps")))
    found = federate(lambda rows: og.GossipEnsemble(og.GaussianNB()).fit(rows, "late"), some, CONSENT)
    model = found.model
    assert found.errors == {}
    assert model.ranks_.tolist() == [2, 3]
    assert [codes.tolist() for codes in model.member_classes_] == [[1, 2], [0, 2]]
    frame = some[2].to_pandas()
    chances = model.predict_proba(frame)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    second = og.GaussianNB().fit(some[1], "late").predict_proba(frame) * model.weights_[0]
    np.testing.assert_allclose(chances[:, 1], second[:, 0], rtol=1e-9)
    with pytest.raises(ExportError, match="a member lacks classes"):
        model.to_sklearn()
    alone = [part.filter(pa.array(np.array(part["late"]) == "no")) for part in (parts[0], parts[2])]
    alone[1] = alone[1].set_column(3, "late", pa.array(["yes"] * len(alone[1])))
    none = federate(lambda rows: og.GossipEnsemble(og.GaussianNB()).fit(rows, "late"), alone, CONSENT)
    assert "no rank has rows of two classes" in " ".join(map(str, none.errors.values()))


def test_mistakes_are_said_before_rows_are_read() -> None:
    rows = tables((40,))[0]
    with pytest.raises(ParameterError, match="combine='stack' alone"):
        og.GossipEnsemble(og.GaussianNB(), final_estimator=og.GaussianNB()).fit(rows, "late")
    with pytest.raises(ParameterError, match="should be a classifier"):
        og.GossipEnsembleClassifier(og.Ridge()).fit(rows, "late")
    with pytest.raises(ParameterError, match="no predict_proba"):
        og.GossipEnsemble(og.GaussianNB(), combine="stack", final_estimator=og.LinearSVC()).fit(rows, "late")
    with pytest.raises(DataError, match="n_samples = 40"):
        og.GossipEnsemble(og.GaussianNB(), members=41).fit(rows, "late")
