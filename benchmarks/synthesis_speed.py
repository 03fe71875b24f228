"""How fast images are simulated, in ratios measured in one run on the machine at hand.

    python benchmarks/synthesis_speed.py [--threads 2] [--samples 12] [--parts 1234]

Part 1: MPRAGE and MP2RAGE of 181 x 217 x 181 voxels against the equation as it is printed, in
eager PyTorch. Part 2: complete training samples of 128 voxels cubed against the equivalent chains
of TorchIO and cornucopia, where these are installed (``pip install prognosis-mri[benchmarks]``).
Part 3: peak memory of one sample. Part 4: a GPU, where there is one. Everything runs on the head
built from the MNI template, so no data are needed.
"""

import argparse
import importlib.util
import math
import multiprocessing
import os
import statistics
import time

# Threads that wait for work would otherwise spin, and on a busy machine that is what one measures.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from imaging.physics import QuantitativeMaps, simulate
from imaging.randomness import sample_seed
from imaging.synthesis import LabelMapSource, SyntheticScans, TissueMaps, synthetic_chain

SHAPE = (181, 217, 181)
PATCH = 128
MPRAGE = {"repetition_time": 2.3, "inversion_time": 0.9, "flip_angle": 9.0, "echo_time": 0.0029}
MP2RAGE = {"repetition_time": 6.25, "inversion_times": (0.8, 2.2), "flip_angles": (4.0, 5.0)}
READOUTS, SPACING, EFFICIENCY = 160, 0.0058, 0.96


def printed_mprage(pd, r1, r2s):
    """The MPRAGE equation (Marques et al. 2010) term by term."""
    tr, ti, te = MPRAGE["repetition_time"], MPRAGE["inversion_time"], MPRAGE["echo_time"]
    train = READOUTS * SPACING
    tp, td, m = ti - train / 2, tr - ti - train / 2, READOUTS // 2
    ex, ep, ed, e1 = (torch.exp(-r1 * t) for t in (SPACING, tp, td, tr))
    angle = math.radians(MPRAGE["flip_angle"])
    c, s = math.cos(angle), math.sin(angle)
    z = (1 - ep) * (c * ex) ** READOUTS + (1 - ex) * (1 - (c * ex) ** READOUTS) / (1 - c * ex)
    z = z * ed + (1 - ed)
    steady = z / (1 + EFFICIENCY * c**READOUTS * e1)
    z = -EFFICIENCY * steady * ep + (1 - ep)
    z = z * (c * ex) ** (m - 1) + (1 - ex) * (1 - (c * ex) ** (m - 1)) / (1 - c * ex)
    return torch.abs(z * s) * pd * torch.exp(-te * r2s)


def printed_mp2rage(pd, r1, r2s):
    """The MP2RAGE equation (Marques et al. 2010) term by term, combined to the uniform image."""
    tr, (t1, t2) = MP2RAGE["repetition_time"], MP2RAGE["inversion_times"]
    n, m, train = READOUTS, READOUTS // 2, READOUTS * SPACING
    tp, tw, td = t1 - train / 2, t2 - t1 - train, tr - t2 - train / 2
    ex, ep, ew, ed, e1 = (torch.exp(-r1 * t) for t in (SPACING, tp, tw, td, tr))
    (c1, s1), (c2, s2) = (
        (math.cos(math.radians(a)), math.sin(math.radians(a))) for a in MP2RAGE["flip_angles"]
    )
    z = (1 - ep) * (c1 * ex) ** n + (1 - ex) * (1 - (c1 * ex) ** n) / (1 - c1 * ex)
    z = z * ew + (1 - ew)
    z = z * (c2 * ex) ** n + (1 - ex) * (1 - (c2 * ex) ** n) / (1 - c2 * ex)
    z = z * ed + (1 - ed)
    z = z / (1 + EFFICIENCY * (c1 * c2) ** n * e1)
    first = (-EFFICIENCY * z * ep + 1 - ep) * (c1 * ex) ** (m - 1)
    first = (first + (1 - ex) * (1 - (c1 * ex) ** (m - 1)) / (1 - c1 * ex)) * s1
    second = (z - (1 - ed)) / (ed * (c2 * ex) ** m)
    second = (second + (1 - ex) * (1 - (c2 * ex) ** -m) / (1 - c2 * ex)) * s2
    first, second = (x * pd * torch.exp(-SPACING / 2 * r2s) for x in (first, second))
    return (first * second / (first**2 + second**2)).nan_to_num_()


def in_turn(calls, repeats):
    """Milliseconds of each call, taken in turn so that all meet the same state of the machine."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call(-1)
    for i in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call(i)
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def template_maps():
    """Maps of the embedded head on the grid of the benchmark, and the same without background."""
    scene, _ = LabelMapSource(lesion_probability=0).sample({}, 0)
    labels = scene["labels"]
    head = torch.zeros((1, *SHAPE), dtype=torch.uint8)
    size = [min(a, b) for a, b in zip(labels.shape[1:], SHAPE, strict=True)]
    low = [(a - b) // 2 for a, b in zip(labels.shape[1:], size, strict=True)]
    inner = tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))
    head[0, : size[0], : size[1], : size[2]] = labels[0][inner]
    brain = torch.where(head <= 5, head, 0)
    maps = {}
    for name, tissues in (("whole head", head), ("brain only", brain)):
        drawn = TissueMaps().sample({"labels": tissues}, 1)[0]["maps"]
        maps[name] = [m.contiguous() for m in drawn[:3]]
    generator = torch.Generator().manual_seed(0)
    ranges = ((60, 100), (0.25, 1.4), (2, 60))
    maps["every voxel"] = [
        low + (high - low) * torch.rand(SHAPE, generator=generator) for low, high in ranges
    ]
    return maps


def sequences(repeats):
    print(
        f"\n1. Sequences, {SHAPE} float32, ms (median of {repeats}; ratio to the printed equation)"
    )
    common = {"n_readouts": READOUTS, "excitation_spacing": SPACING}
    cases = {
        "mprage": (printed_mprage, {**MPRAGE, **common}),
        "mp2rage": (printed_mp2rage, {**MP2RAGE, **common}),
    }
    for what, (pd, r1, r2s) in template_maps().items():
        maps = QuantitativeMaps.unchecked(pd, r1, r2s)
        filled = float((pd > 0).float().mean())
        out = torch.empty_like(pd)
        for name, (printed, parameters) in cases.items():
            calls = {
                "printed": lambda i, f=printed, a=(pd, r1, r2s): f(*a),
                "ours": lambda i, n=name, p=parameters, m=maps: simulate(m, n, **p),
                "compiled": lambda i, n=name, p=parameters, m=maps: simulate(
                    m, n, compiled=True, **p
                ),
                "floor": lambda i, a=(pd, r1, r2s), o=out: torch.addcmul(*a, out=o),
            }
            times = in_turn(calls, repeats)
            t = {k: statistics.median(v) for k, v in times.items()}
            exact = printed(*(x.double() for x in (pd, r1, r2s)))
            scale = float(exact.max() - exact.min())
            signal = pd > 0
            ours, fused, theirs = (
                float((image - exact)[signal].abs().max()) / scale
                for image in (
                    simulate(maps, name, **parameters),
                    simulate(maps, name, compiled=True, **parameters),
                    printed(pd, r1, r2s),
                )
            )
            print(
                f"{name:8} {what:11} ({filled:4.0%} signal)  printed {t['printed']:6.1f}  "
                f"ours {t['ours']:5.1f}  ratio {t['printed'] / t['ours']:5.1f}  "
                f"compiled {t['compiled']:5.1f}  ratio {t['printed'] / t['compiled']:5.1f}  "
                f"memory floor {t['floor']:4.1f}  largest error {ours:.1e}, compiled {fused:.1e} "
                f"(printed {theirs:.1e})"
            )


def torchio_chain():
    """TorchIO's transforms in the order and with the chances of `synthetic_chain`."""
    import torchio as tio

    zoom, window = 0.15, (1, 99)
    deform = tio.Compose(
        [
            tio.RandomAffine(scales=zoom, degrees=15, default_pad_value=0),
            tio.RandomElasticDeformation(num_control_points=7, max_displacement=6.0),
        ]
    )
    corrupt = tio.Compose(
        [
            tio.RandomBiasField(),
            tio.RandomGamma((-0.6, 0.6), p=0.5),
            tio.RandomBlur((0, 1.3), p=0.7),
            tio.RandomAnisotropy(downsampling=(1, 8), p=0.5),
            tio.RandomNoise(std=(0, 0.1), p=0.9),
            tio.RescaleIntensity((0, 1), percentiles=window),
            tio.ZNormalization(),
        ]
    )
    paint = tio.RandomLabelsToImage(label_key="labels", image_key="image", ignore_background=True)

    def sample(labels):
        subject = tio.Subject(labels=tio.LabelMap(tensor=labels))
        return corrupt(paint(deform(subject)))

    return sample


def cornucopia_chain():
    import cornucopia

    synth = cornucopia.SynthFromLabelTransform()
    return lambda labels: synth(labels)


def samples(count, theirs):
    print(f"\n2. Complete samples, {PATCH} cubed, ms")
    source = LabelMapSource(lesion_probability=1.0)
    chains = {
        f"ours, {contrast}": SyntheticScans(
            synthetic_chain(source, contrast=contrast, patch_size=PATCH),
            length=10**6,
            random_state=1,
        )
        for contrast in ("both", "mixture", "physics")
    }
    calls = {name: (lambda i, s=scans: s[i + 1]) for name, scans in chains.items()}
    times = in_turn(calls, count)
    scene, _ = source.sample({}, 0)
    labels = torch.where(scene["lesion"] > 0, 5, scene["labels"])
    low = [(n - PATCH) // 2 for n in labels.shape[1:]]
    labels = labels[(slice(None), *(slice(a, a + PATCH) for a in low))].contiguous()
    builders = {"torchio": torchio_chain, "cornucopia": cornucopia_chain}
    others = {}
    for name, build in builders.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: pip install prognosis-mri[benchmarks]")
        else:
            chain = build()
            kind = torch.long if name == "cornucopia" else torch.uint8
            prepared = labels.to(kind)
            others[name] = lambda i, c=chain, x=prepared: c(x.clone())
    # The comparison proper: ours and theirs in turn.
    calls = {"ours": calls["ours, both"], **others}
    compared = in_turn(calls, theirs) if others else {}
    for name, values in {**times, **compared}.items():
        middle, mean = statistics.median(values), statistics.mean(values)
        line = f"{name:14} median {middle:7.0f}  mean {mean:7.0f}"
        if name in others:
            means = mean / statistics.mean(compared["ours"])
            medians = middle / statistics.median(compared["ours"])
            line += f"  ratio of means {means:5.1f}, of medians {medians:5.1f}"
        print(line)


def _resident(field):
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) * 1024


def _peak(contrast, number, queue):
    """Peak resident memory of one sample over that before it, in a process of its own."""
    torch.set_num_threads(2)
    source = LabelMapSource(lesion_probability=1.0)
    small = SyntheticScans(
        synthetic_chain(source, contrast=contrast, patch_size=16), length=10**6, random_state=1
    )
    small[number]
    scans = SyntheticScans(
        synthetic_chain(source, contrast=contrast, patch_size=PATCH), length=10**6, random_state=1
    )
    before = _resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as counters:
        counters.write("5")
    image = scans[number]["image"]
    extra = _resident("VmHWM") - before
    queue.put(extra / (image.numel() * image.element_size()))


def memory():
    print("\n3. Peak extra memory of one sample, in multiples of its image")
    context = multiprocessing.get_context("spawn")
    for contrast in ("mixture", "physics"):
        queue, peaks = context.Queue(), []
        for number in range(6):
            process = context.Process(target=_peak, args=(contrast, number, queue))
            process.start()
            peaks.append(queue.get())
            process.join()
        print(
            f"{contrast:8} highest of {len(peaks)}: {max(peaks):.1f}, "
            f"median {statistics.median(peaks):.1f}"
        )


def gpu(count):
    if not torch.cuda.is_available():
        print("\n4. No GPU here.")
        return
    print(f"\n4. {torch.cuda.get_device_name()}")
    source = LabelMapSource(lesion_probability=1.0, device="cuda")
    scans = SyntheticScans(synthetic_chain(source, patch_size=PATCH), length=10**6, random_state=1)
    scans[0]
    torch.cuda.synchronize()
    start = time.perf_counter()
    for i in range(count):
        scans[i]
    torch.cuda.synchronize()
    print(f"{count / (time.perf_counter() - start):.1f} samples per second")
    here = synthetic_chain(LabelMapSource(), patch_size=PATCH, noise_device="cpu")
    there = synthetic_chain(source, patch_size=PATCH, noise_device="cpu")
    worst = 0.0
    for i in range(8):
        sample, history = here.sample({}, sample_seed(1, i))
        image = there.replay_sample({}, history)["image"].cpu()
        worst = max(worst, float((image - sample["image"]).norm() / sample["image"].norm()))
    print(f"largest relative difference from the CPU: {worst:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--samples", type=int, default=12, help="of ours; those of others are fewer"
    )
    parser.add_argument("--parts", default="1234", help="which parts to run, such as 13")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads")
    parts = {
        "1": lambda: sequences(repeats=7),
        "2": lambda: samples(arguments.samples, theirs=max(3, arguments.samples // 4)),
        "3": memory,
        "4": lambda: gpu(count=50),
    }
    with torch.no_grad():
        for part in arguments.parts:
            parts[part]()


if __name__ == "__main__":
    main()
