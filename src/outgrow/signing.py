"""Models signed with Ed25519: who has the public key knows who made a model, and that nobody changed it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from outgrow._optional import optional
from outgrow.errors import ArtifactError, InputNotFoundError, OutputExistsError, ParameterError

SIGNATURE = "signature.json"
"""The file of a model with its signature."""
_EXTRA = "signatures"
_KIND = "Ed25519"
Pathlike = str | os.PathLike[str]


def generate(name: Pathlike) -> tuple[Path, Path]:
    """Make a pair of keys: NAME.key, for its owner's eyes, and NAME.pub, for all who check.

    Raises
    ------
    OutputExistsError
        When one of them exists: what it has signed could not be checked any more.
    """
    key, public = Path(f"{os.fspath(name)}.key"), Path(f"{os.fspath(name)}.pub")
    for path in (key, public):
        if path.exists():
            raise OutputExistsError(f"{path} exists already. Choose another name; keys are never replaced.")
    form = optional("cryptography.hazmat.primitives.serialization", _EXTRA)
    made = _ed25519().Ed25519PrivateKey.generate()
    secret = made.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    public.write_bytes(
        made.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return key, public


def signature(document: Mapping[str, Any], key: Pathlike) -> bytes:
    """The signature of a model, as the file that lies beside it.

    Parameters
    ----------
    document : the format and the checksums of the model.
    key : the file with the private key.

    Raises
    ------
    ParameterError
        When it is no such key.
    """
    form = optional("cryptography.hazmat.primitives.serialization", _EXTRA)
    private = _key(key, lambda text: form.load_pem_private_key(text, None), "Ed25519PrivateKey")
    raw = private.public_key().public_bytes_raw()
    text = private.sign(_statement(document)).hex()
    return json.dumps({"algorithm": _KIND, "key": _name(raw), "signature": text}).encode() + b"\n"


def check(document: Mapping[str, Any], given: bytes | None, public_key: Pathlike, model: Path) -> None:
    """Refuse a model that is not signed with a key.

    Parameters
    ----------
    document : the format and the checksums of the model, which have been compared with what they are of.
    given : its signature; None where there is none.
    public_key : the file with the public key.
    model : its folder, for messages.

    Raises
    ------
    ArtifactError
        When it is not signed, signed with another key, or was changed.
    ParameterError
        When there is no such key.
    """
    form = optional("cryptography.hazmat.primitives.serialization", _EXTRA)
    public = _key(public_key, form.load_pem_public_key, "Ed25519PublicKey")
    if given is None:
        raise ArtifactError(f"{model} is not signed. Sign it: outgrow sign {model} --key FILE.")
    try:
        entry = json.loads(given)
        name, raw = str(entry["key"]), bytes.fromhex(entry["signature"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{model / SIGNATURE} is damaged: {error}. Sign the model anew.") from error
    wanted = _name(public.public_bytes_raw())
    if name != wanted:
        raise ArtifactError(
            f"{model} is signed with key {name}, and {os.fspath(public_key)} is {wanted}. Do not use it "
            "unless you trust who signed it."
        )
    try:
        public.verify(raw, _statement(document))
    except optional("cryptography.exceptions", _EXTRA).InvalidSignature as error:
        raise ArtifactError(
            f"{model} was changed after it was signed, or the signature is of another model. Do not use it: "
            "restore it from a copy."
        ) from error


def _statement(document: Mapping[str, Any]) -> bytes:
    """What is signed: all that the checksums cover, and the format by which it is read."""
    signed = {"format": document["format"], "sha256": document["sha256"]}
    return b"outgrow model\n" + json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()


def _name(raw: bytes) -> str:
    """A short name of a public key."""
    return hashlib.sha256(raw).hexdigest()[:16]


def _key(path: Pathlike, parsed: Any, kind: str) -> Any:
    try:
        text = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputNotFoundError(f"There is no file {os.fspath(path)} with a key.") from error
    try:
        key = parsed(text)
    except (ValueError, TypeError) as error:
        raise ParameterError(f"{os.fspath(path)} holds no {kind} as PEM: {error}.") from error
    if not isinstance(key, getattr(_ed25519(), kind)):
        raise ParameterError(f"{os.fspath(path)} holds another key than an {kind}. Make one: outgrow keygen.")
    return key


def _ed25519() -> Any:
    return optional("cryptography.hazmat.primitives.asymmetric.ed25519", _EXTRA)
