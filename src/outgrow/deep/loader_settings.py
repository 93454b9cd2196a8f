"""What a loader asks of its parameters before it reads anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow._settings import is_whole
from outgrow.errors import ParameterError

_SEEDS = 1 << 64


def check_settings(
    batch_size: Any,
    buffer_size: Any,
    seed: Any,
    format: Any,
    device: Any,
    **flags: Any,
) -> None:
    """That parameters have values that they can have.

    Parameters
    ----------
    batch_size, buffer_size, seed, format, device : as `Loader` takes them.
    **flags : those that are true or false; one is `pin_memory`.

    Raises
    ------
    ParameterError
        When one has not.
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("buffer_size", buffer_size, 1),
        ("seed", seed, 0),
    ):
        optional_one = name == "buffer_size" and value is None
        if not optional_one and not is_whole(value, least):
            raise ParameterError(f"{name}={value!r}: a whole number of at least {least} is needed.")
    if seed >= _SEEDS:
        raise ParameterError(f"seed={seed}: a whole number below 2**64 is needed.")
    if format not in ("torch", "numpy"):
        raise ParameterError(f"format={format!r}: it is 'torch' or 'numpy'.")
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise ParameterError(f"{name}={value!r}: say True or False.")
    if format == "numpy" and (device is not None or flags["pin_memory"]):
        raise ParameterError("device and pin_memory are for tensors: say format='torch'.")


def check_device(device: Any, pin_memory: bool = False) -> None:
    """That tensors can be put where they are to go.

    Parameters
    ----------
    device : as PyTorch names them; None for the processor.
    pin_memory : whether a GPU is to copy from the memory of tensors.

    Raises
    ------
    ParameterError
        When there is no such device, or no GPU.
    """
    torch = optional("torch", "torch")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ParameterError(
            f"device={str(device)!r}: {str(error).splitlines()[0]:.200}. Say 'cpu', or 'cuda' where "
            "torch.cuda.is_available()."
        ) from error
    if pin_memory and not torch.accelerator.is_available():
        raise ParameterError(
            "pin_memory=True: there is no GPU that could copy from it. Say "
            "pin_memory=torch.cuda.is_available() where the same code runs on both."
        )
