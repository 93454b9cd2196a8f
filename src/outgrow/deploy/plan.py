"""What is to be put into service: names, libraries, memory, and what an operator chose."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field

from outgrow.errors import ParameterError

PORT = 8000
_LONGEST = 50
"""Characters of a name: Kubernetes takes 63, and files of ours add endings."""
_MEBIBYTE = 1 << 20
_ROUND = 64
"""Mebibytes that memory is rounded up to."""


def kubernetes_name(name: str) -> str:
    """A name of a model as Kubernetes takes names: a to z, digits and -, a letter first, at most 50.

    Names that are so already stay; others, which might become the same, end with digits of a hash.

    Parameters
    ----------
    name : any text.

    Examples
    --------
    >>> from outgrow.deploy.plan import kubernetes_name
    >>> kubernetes_name("late-flights")
    'late-flights'
    >>> kubernetes_name("Späte Flüge"), kubernetes_name("spate_fluge")
    ('spate-fluge-b18ed8', 'spate-fluge-3e8831')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    valid = words if words[:1].isalpha() else f"model-{words}".rstrip("-")
    if valid == name and len(valid) <= _LONGEST:
        return valid
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{valid[: _LONGEST - 7].rstrip('-')}-{digest}"


@dataclass(frozen=True)
class Needs:
    """What a process that serves the model took, measured by starting one.

    Attributes
    ----------
    requirements : libraries and their versions, as pip takes them.
    memory_bytes : the most it held, with the model loaded and a row answered.
    start_seconds : from the start of Python to the first answer.
    python : the version of Python, such as 3.11.
    """

    requirements: tuple[str, ...]
    memory_bytes: int
    start_seconds: float
    python: str

    @property
    def requested_mebibytes(self) -> int:
        """Memory to ask for: a quarter more than was measured."""
        return self._rounded(1.25)

    @property
    def limit_mebibytes(self) -> int:
        """Memory past which the process is ended: twice what was measured, for requests of many rows."""
        return self._rounded(2.0)

    def _rounded(self, factor: float) -> int:
        return -(-int(self.memory_bytes * factor) // (_ROUND * _MEBIBYTE)) * _ROUND


@dataclass(frozen=True)
class Choices:
    """What an operator chooses; all of it stands in the files, to be changed there.

    Attributes
    ----------
    image : the name of the container's image; None for `<name>:<version>`.
    replicas, most_replicas : how many serve at least and at most.
    waiting_rows : rows that wait for each replica, from which on more are wanted.
    canary_percent : the share of requests for a second version under KServe; None for no second one.
    storage : where KServe finds the model, such as s3://models/late; None for a volume claim of its name.
    """

    image: str | None = None
    replicas: int = 2
    most_replicas: int = 10
    waiting_rows: int = 128
    canary_percent: int | None = None
    storage: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.replicas <= self.most_replicas:
            raise ParameterError(
                f"replicas={self.replicas}, most_replicas={self.most_replicas}: 1 to the most are possible."
            )
        if self.waiting_rows < 1:
            raise ParameterError(f"waiting_rows={self.waiting_rows}: at least 1 is needed.")
        if self.canary_percent is not None and not 0 <= self.canary_percent <= 100:
            raise ParameterError(f"canary_percent={self.canary_percent}: from 0 to 100 is possible.")
        if self.image is not None and not re.fullmatch(r"[a-z0-9][\w./:@-]*", self.image):
            raise ParameterError(f"image={self.image!r} is no name of an image, like registry/late:1.")


@dataclass(frozen=True)
class Plan:
    """A model, and how it is put into service.

    Attributes
    ----------
    model : the name under which it is served, as metrics have it.
    version : the number in a store; of a model alone, the beginning of its digest.
    kind : the class of the model.
    needs, choices : measured and chosen.
    """

    model: str
    version: str
    kind: str
    needs: Needs
    choices: Choices = field(default_factory=Choices)

    @property
    def name(self) -> str:
        """The name in Kubernetes, Compose and Prometheus."""
        return kubernetes_name(self.model)

    @property
    def image(self) -> str:
        return self.choices.image or f"{self.name}:{self.version}"

    @property
    def labels(self) -> dict[str, str]:
        """What all objects in Kubernetes carry."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/managed-by": "outgrow"}
