"""Segmentation networks side by side: parameters, operations, time, and how far they see.

The receptive field is measured: the gradient of the middle voxel's logits with respect to the image
of noise, untrained weights. "Reach" is the width, in voxels, that holds 95 % of the absolute
gradient along an axis. Norms over the whole image spread a little of it everywhere.

    python benchmarks/segmentation_networks.py [--side 64] [--small]
"""

import argparse
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from imaging.nets import VOXELWISE
from imaging.nets.voxelwise import build_voxelwise


def reach(network, side, share=0.95):
    """Width along the first axis, around the middle, that holds `share` of the gradient."""
    image = torch.randn(1, 1, side, side, side, requires_grad=True)
    middle = side // 2
    (gradient,) = torch.autograd.grad(network(image)[0, 1, middle, middle, middle], image)
    profile = gradient[0, 0].abs().sum((1, 2))
    for width in range(side // 2 + 1):
        inside = profile[max(middle - width, 0) : middle + width + 1].sum()
        if inside >= share * profile.sum():
            return 2 * width + 1
    return side


def measure(architecture, side):
    """One row of the table."""
    torch.manual_seed(0)
    network = build_voxelwise(architecture, 2).eval()
    image = torch.randn(1, 1, side, side, side)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    times = []
    with torch.no_grad():
        for _ in range(2):
            start = time.perf_counter()
            network(image)
            times.append(time.perf_counter() - start)
    parameters = sum(p.numel() for p in network.parameters())
    return parameters / 1e6, counter.get_total_flops() / 1e9, min(times), reach(network, side)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=64, help="patch, voxels along every axis")
    parser.add_argument("--small", action="store_true", help="the small presets")
    options = parser.parse_args()
    print(f"one patch of {options.side} voxels cubed, {torch.get_num_threads()} thread(s)")
    print("| network | parameters (M) | GFLOP | seconds | reach (voxels) |\n|---|---|---|---|---|")
    for architecture in VOXELWISE:
        if architecture.endswith("-small") == options.small:
            try:
                row = measure(architecture, options.side)
            except ImportError as error:
                print(f"| {architecture} | {error} | | | |", flush=True)
                continue
            print("| {} | {:.2f} | {:.1f} | {:.2f} | {} |".format(architecture, *row), flush=True)


if __name__ == "__main__":
    main()
