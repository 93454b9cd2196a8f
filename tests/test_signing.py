"""Signed models: whoever has the public key takes nothing that another made or changed."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

import outgrow as og
from outgrow.cli import main
from outgrow.errors import ArtifactError, InputNotFoundError, OutputExistsError, ParameterError
from outgrow.registry.store import ModelStore
from outgrow.serve.http.batcher import Batcher
from outgrow.serve.http.deployment import Deployment, Model
from outgrow.signing import generate
from test_registry import level, model


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return generate(tmp_path / "release")


def test_a_signed_model(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    key, public = keys
    assert key.stat().st_mode & 0o777 == 0o600
    model(1).save(tmp_path / "model", key=key)
    assert level(og.load(tmp_path / "model", public_key=public)) == 1
    assert level(og.load(tmp_path / "model")) == 1
    model(2).save(tmp_path / "plain")
    with pytest.raises(ArtifactError, match=r"is not signed\. Sign it: outgrow sign"):
        og.load(tmp_path / "plain", public_key=public)
    with pytest.raises(SystemExit) as done:
        main(["sign", str(tmp_path / "plain"), "--key", str(key)])
    assert done.value.code in (0, None)
    assert level(og.load(tmp_path / "plain", public_key=public)) == 2


def test_what_others_made_or_changed(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    key, public = keys
    model(1).save(tmp_path / "model", key=key)
    model(2).save(tmp_path / "other")
    for name in ("model.json", "arrays.safetensors"):  # whole and with right checksums, but another model
        shutil.copy(tmp_path / "other" / name, tmp_path / "model" / name)
    assert level(og.load(tmp_path / "model")) == 2
    with pytest.raises(ArtifactError, match="was changed after it was signed"):
        og.load(tmp_path / "model", public_key=public)
    strange, _ = generate(tmp_path / "strange")
    model(3).save(tmp_path / "model", key=strange, overwrite=True)
    with pytest.raises(ArtifactError, match=r"is signed with key .* and .*release.pub is "):
        og.load(tmp_path / "model", public_key=public)
    signature = tmp_path / "model" / "signature.json"
    for text in ("{", "[]", '{"key": "x"}', json.dumps({"key": "x", "signature": "zz"})):
        signature.write_text(text)
        with pytest.raises(ArtifactError, match="is damaged"):
            og.load(tmp_path / "model", public_key=public)


def test_keys_that_are_none(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    key, public = keys
    with pytest.raises(OutputExistsError, match="keys are never replaced"):
        generate(tmp_path / "release")
    with pytest.raises(InputNotFoundError, match="There is no file"):
        model(1).save(tmp_path / "model", key=tmp_path / "nowhere")
    with pytest.raises(ParameterError, match="holds no Ed25519PrivateKey as PEM"):
        model(1).save(tmp_path / "model", key=public)
    assert not (tmp_path / "model").exists()
    model(1).save(tmp_path / "model", key=key)
    with pytest.raises(ParameterError, match="holds no Ed25519PublicKey as PEM"):
        og.load(tmp_path / "model", public_key=key)


def test_an_alias_that_moves_to_what_is_not_signed(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    key, public = keys
    store = ModelStore(tmp_path / "late")
    store.promote(store.add(model(1), key=key))
    store.add(model(2))
    served = Deployment.open(
        "late", Model(str(store.path), public_key=str(public)), lambda: Batcher(1, 0.0, 1)
    )
    store.promote(2)
    store.set_alias("canary", 2, percent=50)
    assert asyncio.run(served.refresh()) == ([], ["canary", "primary"])
    assert all("is not signed" in served.problems[role] for role in ("primary", "canary"))
    assert (served.versions, served.choose()[0]) == ({"1"}, "primary")
    store.add(model(3), key=key)
    store.promote(3)
    store.delete_alias("canary")
    assert asyncio.run(served.refresh()) == (["primary"], [])
    assert (served.versions, served.problems) == ({"3"}, {})
    with pytest.raises(ArtifactError, match="is not signed"):
        Deployment.open("late", Model(f"{store.path}@2", public_key=str(public)), lambda: Batcher(1, 0.0, 1))
