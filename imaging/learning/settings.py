"""The parameters of whatever the training engine trains, each declared once.

`training` marks those that the engine takes as they are.
"""

import os

from ..parameters import COUNT, NOT_NEGATIVE, StrOptions, parameter, parameters

__all__ = ["TrainingSettings"]


@parameters
class TrainingSettings:
    """Mixin: how long, on what, and how a network is trained.

    Parameters
    ----------
    {parameters}
    """

    epochs: int = parameter(100, COUNT, training=True, doc="Of the training.")
    weight_decay: float = parameter(1e-2, NOT_NEGATIVE, training=True, doc="Of AdamW.")
    precision: str = parameter(
        "auto",
        StrOptions({"auto", "float32", "bf16"}),
        training=True,
        kind='{"auto", "float32", "bf16"}',
        doc="""
            Of training; results are always made in float32. "auto" takes bfloat16 where the
            hardware has it (3-D networks on GPUs only).""",
    )
    device: str = parameter("auto", str, training=True, doc='"auto" uses a GPU when there is one.')
    n_threads: int = parameter(1, COUNT, training=True, doc="CPU threads.")
    checkpoint: object = parameter(
        None,
        str,
        os.PathLike,
        None,
        kind="path",
        doc="""
            Folder that keeps the state of the training. Killed at any moment, the next `fit` goes
            on after the last whole epoch, to the same result as without the break.""",
    )
    random_state: object = parameter(
        None, "random_state", kind="int, RandomState instance or None", doc="Of all draws."
    )
    verbose: int = parameter(0, "verbose", training=True, doc="1 shows a progress bar on stderr.")
