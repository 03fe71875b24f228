"""One door to all sequences: `simulate` turns quantitative maps into the image of a scan.

It checks the timing, chooses the transverse rate, keeps the kind of image it was given, and sends
arrays on the CPU through the cache-sized blocks of `arrays`.
"""

import inspect
from collections.abc import Mapping

import nibabel as nib
import numpy as np
from joblib import cpu_count

from . import gradient_echo, magnetisation_prepared, spin_echo
from .arrays import blockwise, is_tensor, number
from .compiling import COMPILED, run_compiled
from .maps import QuantitativeMaps
from .timing import check_timing, readout_times

__all__ = ["SEQUENCES", "simulate"]

SEQUENCES = ("mprage", "mp2rage", "gre", "spgr", "fse", "flair")

_EQUATIONS = {
    "mprage": magnetisation_prepared.mprage,
    "mp2rage": magnetisation_prepared.mp2rage,
    "gre": gradient_echo.gre,
    "spgr": gradient_echo.spgr,
    "fse": spin_echo.fse,
    "flair": spin_echo.flair,
}
_MAPS = {
    "mprage": ("pd", "r1", "r2s"),
    "mp2rage": ("pd", "r1"),
    "gre": ("pd", "r1", "r2s"),
    "spgr": ("pd", "r1", "r2s", "mt"),
    "fse": ("pd", "r1", "r2"),
    "flair": ("pd", "r1", "r2"),
}
_NOT_TIMING = {"pd", "r1", "r2s", "r2", "mt", "receive", "transmit", "signed"}


def simulate(
    maps,
    sequence="mprage",
    *,
    receive=1.0,
    transmit=1.0,
    field_strength=None,
    gain=1.0,
    ranges="plausible",
    compiled=False,
    **parameters,
):
    """Simulate the image that a sequence gives of quantitative maps.

    Parameters
    ----------
    maps : QuantitativeMaps
    sequence : {"mprage", "mp2rage", "gre", "spgr", "fse", "flair"}, or a Protocol
        A protocol brings all parameters with it; what is given beside it counts more.
    receive, transmit : float, or array of the shape of the maps
        B1- multiplies PD, B1+ multiplies the flip angle.
    field_strength : float or None
        Tesla; moves R1 and R2* from 3 T, where the maps are taken to be measured, to this field
        (see `QuantitativeMaps.at_field`). None leaves the maps as they are.
    gain : float
        Multiplies the image.
    ranges : {"plausible", "reference", "reference-segmentation"}
        Anything but "plausible" accepts timings that no scanner can run.
    compiled : bool, default=False
        Fuse MPRAGE and MP2RAGE into one kernel with `torch.compile`: faster for many large images,
        on CPU and GPU, after half a minute of compilation that serves all protocols. Needs a C++
        compiler. The other sequences are computed as usual.
    **parameters
        Of the sequence (seconds, degrees): ``repetition_time``, ``echo_time``,
        ``inversion_time``, ``inversion_times``, ``flip_angle``, ``flip_angles``, ``n_readouts``,
        ``excitation_spacing``, ``inversion_efficiency``, ``signed``; see the function of the same
        name for its equation. Parameters left out take the values of a usual 3 T protocol.

    Returns
    -------
    nibabel image, tensor or array
        The kind, shape and precision that the maps came in. Differentiable by autograd where a
        tensor asks for a gradient. Spin echoes use R2* where `maps` has no R2.

    Raises
    ------
    TimingError
        If the timing cannot exist.
    TypeError, ValueError
        If the sequence or a parameter is unknown.
    RuntimeError
        If `compiled` is true and there is no compiler.

    Examples
    --------
    >>> import numpy as np
    >>> maps = QuantitativeMaps(*(np.array([x]) for x in (69.79425, 0.9676176, 22.22746)))
    >>> simulate(maps, "flair", repetition_time=9.0, inversion_time=2.5, echo_time=0.1).round(3)
    array([6.215])
    """
    if isinstance(sequence, Mapping):
        chosen = _given(receive=receive, transmit=transmit, gain=gain)
        if field_strength is not None:
            chosen["field_strength"] = field_strength
        return simulate(maps, **{**sequence, **chosen, **parameters}, compiled=compiled)
    equation = _equation(sequence)
    values = _parameters(sequence, equation, parameters)
    if ranges == "plausible":
        check_timing(sequence, _timing(sequence, values))
    if not isinstance(maps, QuantitativeMaps):
        raise TypeError(
            f"found {type(maps).__name__} where QuantitativeMaps were expected; wrap them: "
            "QuantitativeMaps(pd, r1, r2s, mt)"
        )
    if field_strength is not None:
        maps = maps.at_field(number(field_strength))
    inputs = [_map(maps, name) for name in _MAPS[sequence]]
    fields = {"receive": number(receive), "transmit": number(transmit)}
    accepted = inspect.signature(equation).parameters
    fields = {name: value for name, value in fields.items() if name in accepted}
    if compiled and sequence in COMPILED:
        image = run_compiled(sequence, inputs, {**values, **fields})
    else:
        image = _evaluate(equation, inputs, {**values, **fields})
    if gain != 1:
        image = image * number(gain)
    return nib.Nifti1Image(image, maps.affine) if maps.kind == "image" else image


def _given(**factors):
    """Factors that the caller set, beside a protocol: those that are not 1."""
    return {k: v for k, v in factors.items() if not isinstance(v, (int, float)) or v != 1}


def _equation(sequence):
    if not isinstance(sequence, str) or sequence not in _EQUATIONS:
        raise ValueError(f"found sequence {sequence!r}; choose one of {', '.join(SEQUENCES)}")
    return _EQUATIONS[sequence]


def _parameters(sequence, equation, parameters):
    """The parameters with the equation's own defaults filled in."""
    signature = inspect.signature(equation).parameters
    known = {
        name: p.default
        for name, p in signature.items()
        if p.kind is p.KEYWORD_ONLY and name not in ("receive", "transmit")
    }
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise TypeError(
            f"{sequence} has no parameter {', '.join(map(repr, unknown))}; it takes "
            f"{', '.join(known)}"
        )
    return {name: _plain(parameters.get(name, default)) for name, default in known.items()}


def _plain(value):
    return tuple(map(number, value)) if isinstance(value, (tuple, list)) else number(value)


def _timing(sequence, values):
    timing = {name: value for name, value in values.items() if name not in _NOT_TIMING}
    if sequence in ("mprage", "mp2rage"):
        echo, spacing = readout_times(timing["echo_time"], timing["excitation_spacing"])
        timing |= {"echo_time": echo, "excitation_spacing": spacing}
    return timing


def _map(maps, name):
    if name == "r2" and maps.r2 is None:
        return maps.r2s
    return getattr(maps, name)


def _evaluate(equation, inputs, parameters):
    """Run the equation, in blocks where it is about arrays on the CPU without gradients."""
    fields = [name for name, value in parameters.items() if hasattr(value, "shape")]
    present = [i for i, value in enumerate(inputs) if value is not None]
    arrays = [inputs[i] for i in present] + [parameters[name] for name in fields]
    if not all(_fits_blocks(array, arrays[0]) for array in arrays):
        return equation(*inputs, **parameters)

    def expression(*pieces):
        values = [None] * len(inputs)
        for i, piece in zip(present, pieces, strict=False):
            values[i] = piece
        local = dict(zip(fields, pieces[len(present) :], strict=True))
        return equation(*values, **{**parameters, **local})

    if not is_tensor(arrays[0]):
        return blockwise(expression, arrays, threads=cpu_count())
    import torch

    arrays = [array.detach().numpy() for array in arrays]
    return torch.from_numpy(blockwise(expression, arrays, threads=torch.get_num_threads()))


def _fits_blocks(array, first):
    if tuple(array.shape) != tuple(first.shape) or array.dtype != first.dtype:
        return False
    if not is_tensor(array):
        return isinstance(first, np.ndarray)
    return array.device.type == "cpu" and array.element_size() >= 4 and not array.requires_grad
