"""A job over sites: server and sites as the commands run them, encrypted, and what is refused."""

from __future__ import annotations

import datetime
import json
import socket
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import outgrow as og
from outgrow.cli import main
from outgrow.errors import EngineError, OutgrowError, RankLostError
from outgrow.job.federate import Waits, join_federation, serve_federation
from outgrow.job.load import load_job

WAITS = Waits(joining=20.0, deadline=20.0, patience=30.0)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OUTGROW_SECRET", "a secret that all of the sites know")
    random = np.random.default_rng(2)
    X = random.normal(size=(600, 2))
    frame = pd.DataFrame({"hour": X[:, 0], "wind": X[:, 1], "late": np.where(X.sum(axis=1) > 0, "yes", "no")})
    frame[:250].to_parquet(tmp_path / "north.parquet")
    frame[250:].to_parquet(tmp_path / "south.parquet")
    text = (
        "name: late\ndata: {path: rows.parquet}\ntarget: late\nsplit: {test: 0.25, seed: 3}\n"
        f"model:\n  LogisticRegression: {{C: 0.5}}\noutput: {tmp_path}/out\n"
    )
    (tmp_path / "job.yaml").write_text(text)
    return tmp_path / "job.yaml"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def together(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returns, or the error that it raises, all at once."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except OutgrowError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return results


def certificates(folder: Path, names: list[str]) -> dict[str, str]:
    """A folder for each name, with its certificate, all signed by one authority."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text: str) -> Any:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def signed(subject: str, key: Any, issuer: str, by: Any, *, ca: bool) -> Any:
        today = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - datetime.timedelta(days=1))
            .not_valid_after(today + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root = ec.generate_private_key(ec.SECP256R1())
    authority = signed("authority", root, "authority", root, ca=True)
    for each in names:
        (folder / each).mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / each / "key.pem").write_bytes(private)
        (folder / each / "cert.pem").write_bytes(signed(each, key, "authority", root, ca=False))
        (folder / each / "ca.pem").write_bytes(authority)
    return {each: str(folder / each) for each in names}


def test_server_and_sites_learn_one_model(job: Path) -> None:
    tls, port = certificates(job.parent, ["server", "north", "south"]), free_port()

    def site(name: str) -> Any:
        return join_federation(
            load_job(job),
            name,
            f"localhost:{port}",
            data=str(job.parent / f"{name}.parquet"),
            audit=job.parent / f"{name}.jsonl",
            tls=tls[name],
            waits=WAITS,
        )

    result, north, south = together(
        lambda: serve_federation(
            load_job(job), ["north", "south"], f"localhost:{port}", tls=tls["server"], waits=WAITS
        ),
        lambda: site("north"),
        lambda: site("south"),
    )
    assert north.model.coef_.tolist() == south.model.coef_.tolist() == result.model.model.coef_.tolist()
    rows = pd.concat([pd.read_parquet(job.parent / f"{name}.parquet") for name in ("north", "south")])
    train, _ = og.dataset(rows).split(0.25, seed=3)
    central = og.LogisticRegression(C=0.5).fit(train, "late")
    np.testing.assert_allclose(result.model.model.coef_, central.coef_, rtol=1e-9)
    assert og.load(job.parent / "out" / "model").predict(rows[:5]).tolist()
    assert json.loads((job.parent / "out" / "sites.json").read_text())["site"] == ["north", "south"]
    assert sum(site["rows"] for site in result.sites.values()) == train.count()
    assert (job.parent / "north.jsonl").stat().st_size > 1000


def test_a_certificate_of_another_site_is_refused(job: Path) -> None:
    tls, port = certificates(job.parent, ["server", "north", "south"]), free_port()
    waits = Waits(joining=1.5)
    served, joined = together(
        lambda: serve_federation(
            load_job(job), ["north"], f"localhost:{port}", tls=tls["server"], waits=waits
        ),
        lambda: join_federation(
            load_job(job),
            "north",
            f"localhost:{port}",
            data=str(job.parent / "north.parquet"),
            tls=tls["south"],
            waits=waits,
        ),
    )
    assert isinstance(joined, EngineError)
    assert "certificate is that of 'south'" in str(joined)
    assert isinstance(served, EngineError)
    assert not (job.parent / "out").exists()


def test_without_a_certificate_nobody_takes_part(job: Path) -> None:
    tls, port = certificates(job.parent, ["server"]), free_port()
    waits = Waits(joining=1.5)
    served, joined = together(
        lambda: serve_federation(
            load_job(job), ["north"], f"localhost:{port}", tls=tls["server"], waits=waits
        ),
        lambda: join_federation(
            load_job(job), "north", f"localhost:{port}", data=str(job.parent / "north.parquet"), waits=waits
        ),
    )
    assert isinstance(served, RankLostError)
    assert isinstance(joined, OutgrowError)


@pytest.mark.parametrize(
    ("words", "secret", "message"),
    [
        (["--server", "127.0.0.1:7070", "--name", "north"], "short", "fewer than 16"),
        (["--server", "nowhere", "--name", "north"], "a secret that is long enough", "no address"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(
    job: Path,
    words: list[str],
    secret: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OUTGROW_SECRET", secret)
    with pytest.raises(SystemExit) as stop:
        main(["federate", "site", str(job), "--data", str(job.parent / "north.parquet"), *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_names_of_sites_may_have_spaces_between_them(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--sites", "north, south", "--listen", f"127.0.0.1:{free_port()}", "--joining", "0.1"]
    with pytest.raises(SystemExit):
        main(["federate", "server", str(job), *words])
    assert "['north', 'south'] did not come" in " ".join(capsys.readouterr().err.split())
