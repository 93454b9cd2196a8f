"""A process that only predicts: what it loads, that it answers as any other does, and what it refuses."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import HuberRegressor

import outgrow as og
from outgrow.serve import lean

HEAVY = {"joblib", "narwhals", "pandas", "pyarrow.dataset", "pyarrow.parquet", "scipy", "sklearn", "sqlite3"}
SCRIPT = """
import json, sys
from outgrow.serve import lean
models = [lean.load(path) for path in json.loads(sys.argv[1])]
answers = []
for model in models:
    rows = json.load(sys.stdin) if not answers else rows
    answers.append(model.predict_proba(rows) if model.classes else model.predict(rows))
print(json.dumps([answers, sorted(sys.modules)]))
"""
PEOPLE = pd.DataFrame(
    {
        "age": [22.0, 35.0, np.nan, 41.0, 58.0, 19.0] * 8,
        "town": ["Ghent", "Lille", "Bonn", None, "Ghent", "Lille"] * 8,
        "income": np.linspace(-3.0, 40.0, 48),
    }
)
BOUGHT = np.where(PEOPLE["income"].to_numpy() + np.tile([3.0, -9.0], 24) > 18.0, "yes", "no")


def columns() -> Any:
    numbers = og.Pipeline([og.SimpleImputer(), og.StandardScaler()])
    return og.ColumnTransformer(
        [
            ("numbers", numbers, ["age", "income"]),
            ("town", og.OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["town"]),
        ]
    )


MODELS = [
    og.Pipeline([columns(), og.LogisticRegression()]),
    og.Pipeline([columns(), og.Ridge()]),
    og.Pipeline([columns(), og.GaussianNB()]),
    og.Pipeline([columns(), og.MLPClassifier((3,), tol=0.1, random_state=0)]),
    og.Pipeline([columns(), og.CalibratedClassifierCV(og.LinearSVC(), cv=2)]),
]


def run(script: str, *arguments: str, text: str = "") -> str:
    command = [sys.executable, "-W", "error::ImportWarning", "-c", script, *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Fitted models by the paths they are saved at."""
    folder = tmp_path_factory.mktemp("lean")
    fitted = {}
    for number, model in enumerate(MODELS):
        target = PEOPLE["income"].to_numpy() if number == 1 else BOUGHT
        fitted[str(folder / str(number))] = model.fit(PEOPLE, target)
        model.save(folder / str(number))
    return fitted


def test_answers_to_the_bit_without_the_heavy_libraries(saved: dict[str, Any]) -> None:
    rows = PEOPLE.astype(object).where(PEOPLE.notna(), None).to_dict("records")
    answers, modules = json.loads(run(SCRIPT, json.dumps(list(saved)), text=json.dumps(rows)))
    assert not HEAVY & {*modules, *(name.partition(".")[0] for name in modules)}
    for given, model in zip(answers, saved.values(), strict=True):
        expected = model.predict_proba(PEOPLE) if hasattr(model, "predict_proba") else model.predict(PEOPLE)
        assert given == np.asarray(expected).tolist()


def test_what_a_model_needs_is_imported_when_it_answers(tmp_path: Path) -> None:
    """A model of scikit-learn's own does, and answers all the same; what others import is not touched."""
    X, y = PEOPLE[["income"]].to_numpy(), PEOPLE["income"].to_numpy()
    model = og.Pipeline([og.StandardScaler(), HuberRegressor()]).fit(X, y)
    model.save(tmp_path / "model")
    script = """
import sys
from outgrow.serve import lean
model = lean.load(sys.argv[1])
print(model.predict([{"x0": 4.0}])[0])
import scipy.special, sklearn.base
assert type(scipy.special.expit).__name__ == "ufunc" and isinstance(sklearn.base.BaseEstimator, type)
"""
    assert float(run(script, str(tmp_path / "model"))) == model.predict([[4.0]])[0]


def test_it_says_that_it_cannot_learn(saved: dict[str, Any]) -> None:
    script = """
import sys
from outgrow.serve import lean
lean.load(sys.argv[1])
import outgrow as og
try:
    og.Ridge().fit([[1.0]], [1.0])
except og.errors.OutgrowError as error:
    print(error)
print(og.Ridge(alpha=2.0).set_params(alpha=3.0).get_params()["alpha"])
"""
    said = run(script, next(iter(saved)))
    assert "A Ridge cannot learn in this process" in said
    assert said.endswith("3.0\n")


def test_logistic_function_and_shares_are_those_of_scipy() -> None:
    """Cells of both sizes that the logistic function takes, and those where exponentials have no number."""
    script = """
import numpy as np
from outgrow._deferred import expit, softmax
from scipy import special
edges = [0.0, -0.0, 709.7, -709.7, 745.2, -745.2, 1e308, -1e308, np.inf, -np.inf, np.nan]
some = np.concatenate([edges, np.random.default_rng(0).normal(scale=20.0, size=900)])
for values in (some, np.tile(some, 3), some.astype(np.float32), some[:4].reshape(2, 2), np.empty(0)):
    assert np.array_equal(expit(values), special.expit(values), equal_nan=True), values
shares = np.random.default_rng(1).normal(scale=9.0, size=(500, 3))
assert np.array_equal(softmax(shares, axis=1), special.softmax(shares, axis=1))
"""
    run(script)


def test_here_a_model_answers_as_well_and_fits_go_on(saved: dict[str, Any]) -> None:
    path, model = next(iter(saved.items()))
    here = lean.load(path)
    row = {"age": 30.0, "town": "Oslo", "income": 11.0}
    assert here.predict([row]) == model.predict(pd.DataFrame([row])).tolist()
    assert repr(here) == f"LeanModel(LogisticRegression, version {here.version})"
    assert og.Ridge().fit([[1.0], [2.0]], [1.0, 2.0]).predict([[1.0]]).shape == (1,)


def test_rows_that_do_not_fit_are_named(saved: dict[str, Any]) -> None:
    first, second, *_ = saved
    with pytest.raises(og.errors.ParameterError, match="town is missing"):
        lean.load(first).predict([{"age": 3.0, "income": 1.0}])
    with pytest.raises(og.errors.ParameterError, match="A Ridge has no probabilities"):
        lean.load(second).predict_proba([{"age": 3.0, "town": "Bonn", "income": 1.0}])
    with pytest.raises(og.errors.ArtifactError):
        lean.load(Path(first).parent / "none")
    status, answer = lean.load(first).respond(b'{"rows": [{"age": "old", "town": "Bonn", "income": 1}]}')
    assert (status, json.loads(answer)["columns"]["wrong"]["age"]["found"]) == (422, "'old'")


@pytest.mark.parametrize("event", ["url", "base64", "direct"])
def test_events_of_lambda(saved: dict[str, Any], event: str) -> None:
    path, model = next(iter(saved.items()))
    row = {"age": None, "town": "Bonn", "income": 30.0}
    body = json.dumps({"rows": [row], "probabilities": True})
    handler = lean.LambdaHandler(path)
    if event == "direct":
        answer = handler(json.loads(body))
    else:
        coded = event == "base64"
        text = base64.b64encode(body.encode()).decode() if coded else body
        answered = handler({"version": "2.0", "body": text, "isBase64Encoded": coded}, None)
        assert (answered["statusCode"], answered["headers"]) == (200, {"content-type": "application/json"})
        answer = json.loads(answered["body"])
    expected = model.predict_proba(pd.DataFrame([row]).astype({"age": float}))
    assert np.array_equal(answer["probabilities"], expected)
    assert (answer["classes"], answer["predictions"]) == (["no", "yes"], ["yes"])


@pytest.mark.parametrize("event", [{"body": None}, {"body": ""}, {"body": "[]"}, {"rows": 3}, [], {}])
def test_events_that_hold_no_rows(saved: dict[str, Any], event: Any) -> None:
    answer = lean.LambdaHandler(next(iter(saved)))(event)
    assert 422 in (answer.get("status"), answer.get("statusCode"))
    assert "rows" in str(answer) or "JSON" in str(answer)
