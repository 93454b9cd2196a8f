"""The engine that a command line names."""

from __future__ import annotations

from outgrow.engine.dataset import Engine
from outgrow.engine.local import Local
from outgrow.errors import ParameterError

LOCAL = "local"
_SPARK = ("local[", "spark://", "sc://", "yarn", "k8s://")


def open_engine(name: str, checkpoint: str | None = None) -> Engine:
    """The engine that is meant: this machine, or a Spark whose session is opened.

    Parameters
    ----------
    name : `local`, or the address of a Spark, like local[2], spark://host:7077, sc://host:15002, yarn.
    checkpoint : a folder for the passes of fits under way, with which a killed fit goes on; None for none.

    Raises
    ------
    ParameterError
        When it is neither.
    """
    if name == LOCAL:
        return Local(checkpoint=checkpoint)
    if not name.startswith(_SPARK):
        raise ParameterError(
            f"--engine {name}: it is neither {LOCAL} nor a Spark address. "
            "Write local, local[2], spark://host:7077 or sc://host:15002."
        )
    from outgrow.engine.spark.engine import Spark
    from outgrow.engine.spark.session import open_session

    return Spark(open_session(name), checkpoint=checkpoint)
