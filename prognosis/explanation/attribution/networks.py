"""Networks as captum wants them: one number per patient, nothing of the estimator touched.

Every function works on a copy in evaluation mode whose weights ask for no gradient.
"""

import copy

import torch
from torch import nn

from imaging.learning.device import private_torch_state

__all__ = ["ScalarOutput", "explained_network", "internal_batch_size", "randomised"]

MEMORY_BYTES = 512 * 1024**2
LARGEST_BATCH = {"cpu": 32, "cuda": 256}


class ScalarOutput(nn.Module):
    """The number that is explained: log odds of a class, or the prediction in outcome units.

    Parameters
    ----------
    network : torch.nn.Module
    index : int or None
        The class, against all others together; None for regression.
    scale, offset : float
        Of a regression's output.

    Attributes
    ----------
    latest : Tensor of shape (batch,)
        What was computed last, so that it need not be computed again.
    """

    def __init__(self, network, index, scale=1.0, offset=0.0):
        super().__init__()
        self.network = network
        self.index = index
        self.scale = scale
        self.offset = offset

    def forward(self, image, tabular=None):
        outputs = self.network(image) if tabular is None else self.network(image, tabular)
        if self.index is None:
            value = outputs[:, 0] * self.scale + self.offset
        else:
            others = torch.cat([outputs[:, : self.index], outputs[:, self.index + 1 :]], dim=1)
            value = outputs[:, self.index] - torch.logsumexp(others, dim=1)
        self.latest = value.detach()
        return value


def explained_network(estimator, network, index, device):
    """A copy of one of an estimator's networks that returns what is explained.

    In runs of layers, batch normalisation is folded into the convolution before it, and maxima are
    taken before negative values are cut off rather than after: the same function to within rounding
    in less time.

    Returns
    -------
    ScalarOutput
        On `device`, float32, in evaluation mode.
    """
    network = copy.deepcopy(network).float().eval().requires_grad_(False)
    for module in network.modules():
        if type(module) is nn.Sequential:
            _simplify(module)
    scale = float(getattr(estimator, "target_scale_", 1.0))
    offset = float(getattr(estimator, "target_mean_", 0.0))
    return ScalarOutput(network, index, scale, offset).eval().to(device)


def _simplify(steps):
    for n in range(len(steps) - 1):
        one, following = steps[n], steps[n + 1]
        if isinstance(one, (nn.Conv2d, nn.Conv3d)) and isinstance(
            following, (nn.BatchNorm2d, nn.BatchNorm3d)
        ):
            steps[n] = nn.utils.fusion.fuse_conv_bn_eval(one, following)
            steps[n].requires_grad_(False)
            steps[n + 1] = nn.Identity()
    for n in range(len(steps) - 1):
        if isinstance(steps[n], nn.ReLU) and isinstance(steps[n + 1], (nn.MaxPool2d, nn.MaxPool3d)):
            steps[n], steps[n + 1] = steps[n + 1], steps[n]


def randomised(network, seed):
    """A copy of a network with all weights drawn anew; mean image and scale stay.

    Statistics of batch normalisation are forgotten, too.
    """
    network = copy.deepcopy(network)
    with private_torch_state(seed):
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return network


def internal_batch_size(model, inputs):
    """How many patients (or steps of a path) fit into memory at once, with their gradients.

    Measured: the bytes of all layers' outputs for one patient, three times over for the backward
    pass, must fit into half a gigabyte, or into half of what is free on a GPU.

    Parameters
    ----------
    model : ScalarOutput
    inputs : tuple of Tensor
        Of any number of patients; the first is looked at.

    Returns
    -------
    int
    """
    used = [0]

    def count(module, given, output):
        if isinstance(output, torch.Tensor):
            used[0] += output.numel() * output.element_size()

    device = next(model.network.parameters()).device
    hooks = [m.register_forward_hook(count) for m in model.modules() if not list(m.children())]
    with torch.inference_mode():
        model(*(values[:1].to(device) for values in inputs))
    for hook in hooks:
        hook.remove()
    budget = MEMORY_BYTES
    if device.type == "cuda":
        budget = torch.cuda.mem_get_info(device)[0] // 2
    largest = LARGEST_BATCH.get(device.type, 32)
    return int(max(1, min(largest, budget // max(1, 3 * used[0]))))
