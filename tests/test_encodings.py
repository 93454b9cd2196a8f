"""Text in whatever encoding: what is found out, what is said, and every door alike."""

from __future__ import annotations

import asyncio
import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.cli import main
from outgrow.data.encoding import check_utf8, sniffed
from outgrow.data.text_source import BLOCK_BYTES
from outgrow.errors import DataError, EncodingGuessedWarning
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings
from outgrow.testing import EngineCase

TOWNS = "town,height\nZürich,408\nMálaga,11\n"
ROWS = [{"town": "Zürich", "height": 408}, {"town": "Málaga", "height": 11}]
LINES = '{"town": "Zürich", "height": 408}\n{"town": "Málaga", "height": 11}\n'


@contextlib.contextmanager
def guess(path: Path | str = "towns") -> Iterator[None]:
    with pytest.warns(EncodingGuessedWarning, match=rf"{re.escape(str(path))}.*read as cp1252.*'Zürich'"):
        yield


@pytest.mark.parametrize(("name", "text"), [("towns.csv", TOWNS), ("towns.jsonl", LINES)])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32", "utf-8-sig"])
def test_what_the_bytes_say_is_not_doubted(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert og.read(tmp_path / name).to_arrow().to_pylist() == ROWS


@pytest.mark.parametrize(("name", "text"), [("towns.csv", TOWNS), ("towns.jsonl", LINES)])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_a_guess_is_said(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    with guess(path):
        rows = og.read(path)
        assert rows.to_arrow().to_pylist() == ROWS
    assert rows.fingerprint()["source"]["read"]["encoding"] == "cp1252"
    assert og.read(path, encoding=encoding).to_arrow().to_pylist() == ROWS  # without a warning


def test_what_shows_only_far_behind(tmp_path: Path) -> None:
    """Beyond the first bytes, the first block and the first file."""
    many = "town,height\n" + "Rom,1\n" * 1_000_000
    (tmp_path / "a.csv").write_text(TOWNS)
    (tmp_path / "b.csv").write_text(many + "Zürich,2.5\n", encoding="latin-1")
    with guess(tmp_path / "b.csv"):
        rows = og.read(tmp_path)
        found = rows.to_arrow()
    assert len(found) == 1_000_003
    assert found.slice(1_000_002).to_pylist() == [{"town": "Zürich", "height": 2.5}]
    assert found.slice(0, 1).to_pylist() == [ROWS[0]]
    with pytest.raises(DataError, match=r"b\.csv cannot be read.*encoding"):
        og.read(tmp_path, types={"town": "text", "height": "number"}).to_arrow()


def test_a_model_scores_it_through_every_door(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [og.OneHotEncoder(columns=["town"], handle_unknown="ignore"), og.Ridge(alpha=1e-9)]
    model = og.Pipeline(steps).fit(pa.Table.from_pylist(ROWS * 3), "height")
    model.save(tmp_path / "model")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "towns.csv").write_text(TOWNS, encoding="latin-1")
    expected = pytest.approx([408, 11], rel=1e-6)
    with guess():
        assert model.predict(og.read(folder)).to_arrow()["prediction"].to_pylist() == expected
    with guess():
        og.score_stream(tmp_path / "model", folder, tmp_path / "streamed").run_available()
    assert og.read(tmp_path / "streamed").to_arrow()["prediction"].to_pylist() == expected
    with guess(), pytest.raises(SystemExit, match="0"):
        main(["score", str(tmp_path / "model"), str(folder), "-o", str(tmp_path / "scored")])
    assert og.read(tmp_path / "scored").to_arrow()["prediction"].to_pylist() == expected


def test_bodies_of_requests(tmp_path: Path) -> None:
    steps = [og.OneHotEncoder(columns=["town"], handle_unknown="ignore"), og.Ridge(alpha=1e-9)]
    og.Pipeline(steps).fit(pa.Table.from_pylist(ROWS * 3), "height").save(tmp_path / "model")
    app = application(Settings({"m": Model(str(tmp_path / "model"))}))
    asked = {"text/csv": "utf-16", "text/csv; charset=latin-1": "latin-1", "text/csv;": "utf-8-sig"}

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t") as client:
            for kind, encoding in asked.items():
                answer = await client.post(
                    "/invocations", content=TOWNS.encode(encoding), headers={"content-type": kind}
                )
                assert answer.json()["predictions"] == pytest.approx([408, 11], rel=1e-6)
            answer = await client.post(
                "/invocations", content=TOWNS.encode("latin-1"), headers={"content-type": "text/csv"}
            )
            assert answer.status_code == 422
            assert "charset" in answer.text

    asyncio.run(run())


def test_on_every_engine(engine: EngineCase, tmp_path: Path) -> None:
    folder = tmp_path / "towns"
    folder.mkdir()
    (folder / "a.csv").write_text(TOWNS, encoding="latin-1")
    (folder / "b.csv").write_bytes(TOWNS.encode("utf-16-le"))
    with guess(folder):
        rows = og.read(folder, engine=engine.open(pa.table({"a": [1]})).engine)
        found = rows.to_arrow().sort_by("height").to_pylist()
    assert found == sorted(ROWS * 2, key=lambda row: float(str(row["height"])))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40), size=st.integers(0, 120))
def test_utf_8_is_never_taken_for_something_else(text: str, size: int) -> None:
    body = text.encode()
    assert sniffed(body[:size], whole=size >= len(body)) is None
    check_utf8(body)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(words=st.lists(st.text("aeoüéÑß1 "), min_size=1, max_size=9))
def test_words_of_latin_1_are_read_as_such(
    words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("latin") / "words.csv"
    text = "n,word\n" + "".join(f"{n},{word}\n" for n, word in enumerate(words))
    path.write_text(text, encoding="latin-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EncodingGuessedWarning)
        found = og.read(path, types={"word": "text"}).to_arrow()
    assert found["word"].to_pylist() == [word or None for word in words]


# ---- JSON lines as delimited text has them -----------------------------------------------------------------

MOMENTS = [
    ["2024-01-31"],
    ["2024-01-31", "2024-02-29T10:00"],
    ["2024-01-31T12:00:00", "2024-01-31 12:00:00.5"],
    ["2024-01-31T12:00:00Z", "2024-01-31T12:00:00+02:00"],
    ["2024-01-31T12:00:00.25+0200"],
    ["2024-01-31T12:00:00Z", "2024-01-31T12:00:00"],
    ["2024-02-30"],
    ["2024-01-31", "x"],
]


@pytest.mark.parametrize("moments", MOMENTS)
@pytest.mark.parametrize("blocks", [False, True])
def test_moments_are_the_same_in_json_and_csv(tmp_path: Path, moments: list[str], blocks: bool) -> None:
    text, filler = ("x" * 1_000, 2 * BLOCK_BYTES // 1_000) if blocks else ("x", 0)
    values = [moments[0]] * filler + moments
    (tmp_path / "t.csv").write_text("n,t\n" + "".join(f"{text},{value}\n" for value in values))
    (tmp_path / "t.jsonl").write_text("".join(f'{{"n": "{text}", "t": "{value}"}}\n' for value in values))
    csv, lines = (og.read(tmp_path / name).to_arrow() for name in ("t.csv", "t.jsonl"))
    assert csv.schema == lines.schema
    assert csv["t"].slice(filler).to_pylist() == lines["t"].slice(filler).to_pylist()


def test_lines_that_are_null_are_rows_without_values(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('null\n{"a": 1}\n null\n')
    assert og.read(tmp_path / "a.jsonl").to_arrow()["a"].to_pylist() == [None, 1, None]


def test_brackets_within_text_are_no_levels(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "' + "{[" * 3_000 + '\\"{"}\n{"a": "' + "{" * 900 + '"}\n')
    assert [len(value) for value in og.read(tmp_path / "a.jsonl").to_arrow()["a"].to_pylist()] == [6_002, 900]


@pytest.mark.parametrize("option", [{"na_values": "-"}, {"sep": ";"}, {"decimal": ","}])
def test_options_of_csv_are_refused_for_json(tmp_path: Path, option: dict[str, Any]) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(og.errors.ParameterError, match=f"{next(iter(option))}= says how CSV is read"):
        og.read(tmp_path / "a.jsonl", **option)


def test_a_cell_may_be_named_as_it_is(tmp_path: Path) -> None:
    for text, options in (
        ("a;b\n1\n", {"sep": ","}),
        ('"a;b"\n1\n', {}),
        ("sep=;\na;b\n1;2\n", {"sep": ";"}),
    ):
        (tmp_path / "a.csv").write_text(text)
        found = og.read(tmp_path / "a.csv", **options).to_arrow()
        assert found.to_pylist() == ([{"a": 1, "b": 2}] if "sep" in text else [{"a;b": 1}])
