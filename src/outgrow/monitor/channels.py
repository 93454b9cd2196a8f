"""Who is told of alerts: a webhook, mail; and numbers for Prometheus."""

from __future__ import annotations

import json
import os
import smtplib
import time as clock
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Protocol

from outgrow.errors import EngineError, ParameterError
from outgrow.storage import write_file


class Channel(Protocol):
    """Takes alerts to people.

    Not promised: that it is called once only, where it fails after it has done its work.
    """

    @property
    def name(self) -> str:
        """Tells it from others in the log; no secrets in it."""

    def send(self, alert: Mapping[str, Any]) -> None:
        """Hand over an alert, as `Alert.to_dict` gives it; an `OutgrowError` or `OSError` if it fails."""


@dataclass(frozen=True)
class Webhook:
    """An HTTP POST of JSON, which chat services and Alertmanager's receivers understand.

    Parameters
    ----------
    url : http or https.
    timeout : seconds for each try.
    tries : how often; between them 1, 2, 4, ... times `pause` seconds. What the receiver refuses (400 to 499,
        other than 408 and 429) is not tried again.
    pause : seconds.
    headers : such as an authorisation.
    """

    url: str
    timeout: float = 5.0
    tries: int = 3
    pause: float = 1.0
    headers: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ParameterError(f"{self.url!r} is no URL of a webhook. Write http:// or https://.")

    @property
    def name(self) -> str:
        """Scheme and host; paths of webhooks are secrets."""
        return "webhook " + "/".join(self.url.split("/")[:3]).split("@")[-1]

    def send(self, alert: Mapping[str, Any]) -> None:
        data = json.dumps(alert).encode()
        headers = {"Content-Type": "application/json", **(self.headers or {})}
        problem = ""
        for attempt in range(self.tries):
            if attempt:
                clock.sleep(self.pause * 2 ** (attempt - 1))
            request = urllib.request.Request(self.url, data, headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=self.timeout):
                    return
            except urllib.error.HTTPError as error:
                problem = f"HTTP {error.code}"
                if error.code < 500 and error.code not in (408, 429):
                    break
            except OSError as error:
                problem = str(getattr(error, "reason", error))
        raise EngineError(
            f"The webhook did not take the alert: {problem}. It is tried again at the next look."
        )


@dataclass(frozen=True)
class Mail:
    """A mail by SMTP.

    Parameters
    ----------
    sender, to : addresses.
    host, port : of the mail server.
    user, password : where it wants them; then the connection is encrypted (STARTTLS).
    timeout : seconds.
    """

    sender: str
    to: str
    host: str = "localhost"
    port: int = 25
    user: str | None = None
    password: str | None = None
    timeout: float = 10.0

    @property
    def name(self) -> str:
        """Whom it reaches."""
        return f"mail {self.to}"

    def send(self, alert: Mapping[str, Any]) -> None:
        message = EmailMessage()
        message["From"], message["To"] = self.sender, self.to
        message["Subject"] = str(alert["text"]).splitlines()[0][:120]
        message.set_content("\n".join(f"{key}: {value}" for key, value in alert.items()))
        try:
            with smtplib.SMTP(self.host, self.port, timeout=self.timeout) as server:
                if self.user is not None:
                    server.starttls()
                    server.login(self.user, self.password or "")
                server.send_message(message)
        except smtplib.SMTPException as error:
            raise EngineError(f"{self.host} did not take the mail: {error}.") from error


@dataclass(frozen=True)
class Call:
    """A function of this process.

    Parameters
    ----------
    function : called with each alert.
    name : tells it from others.
    """

    function: Callable[[Mapping[str, Any]], object]
    name: str = "function"

    def send(self, alert: Mapping[str, Any]) -> None:
        self.function(alert)


def channels_of(webhooks: Iterable[str], mails: Iterable[str], smtp: str = "localhost:25") -> list[Channel]:
    """Channels as options and policies name them.

    Parameters
    ----------
    webhooks : URLs.
    mails : addresses.
    smtp : the mail server, HOST or HOST:PORT.

    Raises
    ------
    ParameterError
        When a URL or the port is none.
    """
    host, _, port = smtp.partition(":")
    if port and not port.isdigit():
        raise ParameterError(f"{smtp!r} is no mail server. Write HOST or HOST:PORT.")
    mailing = [Mail("outgrow@localhost", to, host, int(port or 25)) for to in mails]
    return [*map(Webhook, webhooks), *mailing]


Sample = tuple[str, Mapping[str, str], float]


def prometheus_text(samples: Iterable[Sample], helps: Mapping[str, str]) -> str:
    """Numbers in Prometheus's text format.

    Parameters
    ----------
    samples : name, labels and value of each.
    helps : what each name means.
    """
    by_name: dict[str, list[str]] = {}
    for name, labels, value in samples:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        by_name.setdefault(name, []).append(f"{name}{{{inner}}} {value!r}".replace("nan", "NaN"))
    lines = []
    for name, values in by_name.items():
        lines += [f"# HELP {name} {helps[name]}", f"# TYPE {name} gauge", *values]
    return "\n".join([*lines, ""])


def write_prometheus(path: str | os.PathLike[str], text: str) -> None:
    """Write a file for the textfile collector of node_exporter, whole or not at all.

    Parameters
    ----------
    path : it ends in .prom.
    text : as `prometheus_text` gives it.
    """
    if Path(path).suffix != ".prom":
        raise ParameterError(f"{path} does not end in .prom; the textfile collector reads no others.")
    write_file(path, text.encode(), overwrite=True, durable=False)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
