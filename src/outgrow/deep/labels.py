"""What losses and activations are called; nothing of torch is imported here."""

from __future__ import annotations

from typing import Any

ONE_OUTPUT = ("BCEWithLogitsLoss", "BCELoss", "SoftMarginLoss")
"""Losses of two classes by one number, whose target is 0.0 or 1.0."""
OF_DIFFERENCES = ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
"""Losses of how far the outputs are from the targets."""

ACTIVATIONS = {
    "relu": "ReLU",
    "gelu": "GELU",
    "silu": "SiLU",
    "tanh": "Tanh",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "identity": "Identity",
}
"""By the names that perceptrons know, their classes in `torch.nn`."""


def criterion_label(criterion: Any) -> str:
    """What a loss is called, without where it is from.

    Parameters
    ----------
    criterion : the parameter.
    """
    if isinstance(criterion, str):
        return criterion.rpartition(":")[2]
    return str(getattr(criterion, "__name__", type(criterion).__name__))
