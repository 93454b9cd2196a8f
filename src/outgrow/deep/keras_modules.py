"""Models of Keras on its backend torch, where they are unlike other modules of PyTorch.

Their layers do not look at `module.training`, but are told in each call whether they learn; and what they
change without a gradient, such as running means, are parameters of PyTorch that need none, no buffers.
"""

from __future__ import annotations

from typing import Any

_STATE = "outgrow_state_{}"


def is_keras(module: Any) -> bool:
    """Whether a module of torch is a model or a layer of Keras.

    Parameters
    ----------
    module : of `torch.nn`.
    """
    return any(kind.__module__.startswith("keras.") for kind in type(module).__mro__)


def answer_of(module: Any, inputs: Any) -> Any:
    """What a module gives for rows: of Keras, too, as while it learns or as after that.

    Parameters
    ----------
    module : of `torch.nn`; `module.training` says which.
    inputs : a tensor.
    """
    return module(inputs, training=module.training) if is_keras(module) else module(inputs)


def penalty_of(module: Any) -> Any:
    """What the layers of a model of Keras add to the mean loss, such as by `kernel_regularizer`; 0 without.

    Parameters
    ----------
    module : of `torch.nn`, which was just asked.
    """
    return sum(module.losses) if is_keras(module) else 0.0


def keep_states(module: Any) -> None:
    """Let what a model of Keras changes without a gradient be buffers, which ranks merge and snapshots hold.

    Weights of layers that are not to learn (`layer.trainable = False`) stay as they are, and are left out.

    Parameters
    ----------
    module : of `torch.nn`, on the device where it learns; one that is not of Keras is left alone.
    """
    if not is_keras(module):
        return
    layers = module._flatten_layers()
    still = {id(variable) for layer in layers if not layer.trainable for variable in layer.weights}
    states = [one for one in module.non_trainable_variables if id(one) not in still]
    for number, variable in enumerate(states):
        module.register_buffer(_STATE.format(number), variable.value)
