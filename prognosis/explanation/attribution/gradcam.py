"""Grad-CAM for networks whose deepest maps are too coarse to say where in the brain.

The layer is the deepest one that still has an eighth of the picture's resolution, and its units are
put where their receptive fields are centred, which valid convolutions move away from the border.
"""

import numpy as np
import torch

__all__ = ["class_activation"]

LEAST_RESOLUTION = 1 / 8


def class_activation(model, given, reference, settings, batch):
    """Grad-CAM, signed: without the last step that drops what speaks against the class.

    Returns
    -------
    (maps,), 0
        Tensor of the shape of the images (every channel the same share); no steps.
    """
    from captum.attr import LayerGradCam

    layer = find_layer(model, given)
    maps = LayerGradCam(model, layer).attribute(given).detach()
    image = given[0]
    for axis in range(2, image.ndim):
        matrix = _placing(model, layer, given, axis, maps.shape[axis])
        maps = torch.tensordot(maps, matrix.to(maps), dims=([axis], [1])).movedim(-1, axis)
    return (maps.expand_as(image) / image.shape[1],), 0


def find_layer(model, given):
    """The deepest layer of the encoder with at least an eighth of the picture's resolution."""
    shape, seen = given[0].shape[2:], []

    def look(module, inputs, output):
        if isinstance(output, torch.Tensor) and output.ndim == len(shape) + 2:
            seen.append((module, output.shape[2:]))

    modules = [m for m in model.network.encoder.modules() if m is not model.network.encoder]
    hooks = [module.register_forward_hook(look) for module in modules]
    with torch.no_grad():
        model(*(values[:1] for values in given))
    for hook in hooks:
        hook.remove()
    times = {module: sum(other is module for other, _ in seen) for module, _ in seen}
    usable = [
        module
        for module, size in seen
        if times[module] == 1
        and not isinstance(module, torch.nn.Identity)
        and all(n >= LEAST_RESOLUTION * m for n, m in zip(size, shape, strict=True))
    ]
    if not usable:
        raise ValueError(
            "the architecture has no layer with an eighth of the picture's resolution, where "
            'Grad-CAM could say anything of the brain; use method="integrated_gradients"'
        )
    return usable[-1]


def _placing(model, layer, given, axis, n_units):
    """The matrix that puts a row of units at their places among the pixels of an axis.

    Where two units look is measured: the centre of what moves them, by gradients.
    """
    n_pixels = given[0].shape[axis]
    units = sorted({n_units // 4, (3 * n_units) // 4})
    centres = [_centre(model, layer, given, axis, unit) for unit in units]
    if len(units) == 2 and centres[1] > centres[0]:
        step = (centres[1] - centres[0]) / (units[1] - units[0])
        first = centres[0] - step * units[0]
    else:
        step, first = n_pixels / n_units, (n_pixels / n_units - 1) / 2
    places = first + step * np.arange(n_units)
    columns = [np.interp(np.arange(n_pixels), places, row) for row in np.eye(n_units)]
    return torch.from_numpy(np.stack(columns, axis=1))


def _centre(model, layer, given, axis, unit):
    held = []
    hook = layer.register_forward_hook(lambda module, inputs, output: held.append(output))
    image = given[0][:8].clone().requires_grad_(True)
    with torch.enable_grad():
        model(image, *(values[:8] for values in given[1:]))
        (gradient,) = torch.autograd.grad(held[0].select(axis, unit).sum(), image)
    hook.remove()
    others = [n for n in range(image.ndim) if n != axis]
    weight = gradient.abs().sum(dim=others).cpu().numpy()
    if not weight.sum():
        return -1.0
    return float(np.average(np.arange(len(weight)), weights=weight))
