"""Whether a map says something of the network: three checks that are part of every explanation.

Do the attributions add up; do they change when the weights are random; and does hiding what they
point at change the prediction more than hiding something else?
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from imaging.storage.tensors import as_tensor

from .networks import ScalarOutput, explained_network, randomised

__all__ = ["insertion_deletion", "randomisation", "trust_checks"]

MOST_COMPLETENESS_ERROR = 0.05
MOST_RANDOMISATION_CORRELATION = 0.3
FRACTIONS = np.linspace(0, 1, 11)


def trust_checks(explanation, n_patients=20):
    """All checks of an explanation.

    Parameters
    ----------
    explanation : Explanation
    n_patients : int, default=20
        Patients, spread over the cohort, for the checks that compute something new.

    Returns
    -------
    dict
        - ``completeness_error``: see `Explanation.completeness_error`; at most 0.05 is good. None
          where it does not apply.
        - ``randomisation_correlation``: mean over patients of the size of the rank correlation
          (Spearman) of the map with that of the same network with random weights; at most 0.3 is
          good. ``randomisation_correlation_absolute``: the same of maps without signs. It is high
          for integrated gradients whatever the network, because their size counts how far a pixel
          is from the baseline: where maps are strong is partly the image, in which direction they
          point is not.
        - ``deletion_gain``, ``insertion_gain``: the area between the curves of the map and of a
          random map as smooth as it; positive is good (see `insertion_deletion`).
        - ``problems``: list of sentences, empty when all is well.
    """
    error = explanation.completeness_error
    correlation = explanation.randomisation_correlation(n_patients)
    curves = explanation.insertion_deletion(n_patients)
    gains = {name: curves[name].attrs["gain"] for name in ("deletion", "insertion")}
    problems = []
    if error > MOST_COMPLETENESS_ERROR:
        problems.append(
            f"the attributions miss the predictions by {100 * error:.0f} %; raise n_steps"
        )
    if correlation["signed"] > MOST_RANDOMISATION_CORRELATION:
        problems.append(
            f"networks with random weights give similar maps (correlation "
            f"{correlation['signed']:.2f}), so the maps show the images rather than what was "
            "learnt; do not interpret them"
        )
    for name, gain in gains.items():
        if not gain > 0:
            problems.append(
                f"in {name}, the map does no better than a random one (gain {gain:.2f}); do not "
                "interpret it"
            )
    return {
        "completeness_error": None if np.isnan(error) else float(error),
        "randomisation_correlation": correlation["signed"],
        "randomisation_correlation_absolute": correlation["absolute"],
        "deletion_gain": gains["deletion"],
        "insertion_gain": gains["insertion"],
        "n_patients": int(min(n_patients, len(explanation.patients))),
        "problems": problems,
    }


def randomisation(explanation, n_patients=20):
    """Rank correlation of maps with those of the same networks with all weights drawn anew.

    Parameters
    ----------
    explanation : Explanation
    n_patients : int, default=20

    Returns
    -------
    dict
        ``signed``: mean over patients of the size of the correlation, whatever its direction, since
        a random network may as well have learnt the opposite; ``absolute``: mean correlation of
        the maps' absolute values.

    References
    ----------
    Adebayo et al. 2018, Sanity checks for saliency maps, NeurIPS.
    """
    from .methods import attribute

    settings = explanation.study[1]
    # fewer steps are enough to see whether maps are alike
    settings = replace(settings, max_steps=settings.n_steps)
    signed, absolute = [], []
    for one, rows in _samples(explanation, n_patients):
        networks = [
            randomised(network, settings.random_state + number)
            for number, network in enumerate(one.part.estimator.networks_)
        ]
        inputs = {name: values[rows] for name, values in one.inputs.items()}
        found = attribute(
            one.part.estimator, inputs, one.index, settings, one.features, networks=networks
        )
        pixels = one.pictures.shape[2]
        seen = _seen(one)
        for row, other in zip(rows, found.image[:, :, :pixels], strict=True):
            mine, other = one.pictures[row][seen], other[seen]
            signed.append(abs(_rank_correlation(mine, other)))
            absolute.append(_rank_correlation(np.abs(mine), np.abs(other)))
    return {"signed": float(np.mean(signed)), "absolute": float(np.mean(absolute))}


def insertion_deletion(explanation, n_patients=20):
    """Hide (or show) pixels in the order of the map, and watch the prediction.

    Pixels are ordered by how much they speak for the difference between the patient's prediction
    and the baseline's (gradients count times the difference from the baseline); a tenth more at a
    time is replaced by the baseline (deletion) or restored (insertion). The random map has the same
    spectrum, hence the same smoothness, and random phases.

    Parameters
    ----------
    explanation : Explanation
    n_patients : int, default=20

    Returns
    -------
    dict of str to DataFrame
        ``deletion`` and ``insertion``, indexed by the fraction of pixels replaced or restored:
        ``map`` and ``random``, the part of the difference that is left (mean over patients,
        relative to the mean difference). ``attrs["gain"]``: the area between them, positive where
        the map does better than chance.

    References
    ----------
    Petsiuk et al. 2018, RISE, BMVC (curves).
    """
    total = {name: np.zeros((2, len(FRACTIONS))) for name in ("deletion", "insertion")}
    scale = 0.0
    rng = np.random.default_rng(explanation.study[1].random_state)
    for one, rows in _samples(explanation, n_patients):
        for network in one.part.estimator.networks_:
            scale += _curves(explanation, one, rows, network, rng, total)
    curves = {}
    for name, values in total.items():
        frame = pd.DataFrame((values / max(scale, 1e-12)).T, columns=["map", "random"])
        frame.index = pd.Index(FRACTIONS, name="fraction")
        gap = frame["random"] - frame["map"]
        sign = 1 if name == "deletion" else -1
        frame.attrs["gain"] = float(sign * np.trapezoid(gap, FRACTIONS))
        curves[name] = frame
    return curves


def _curves(explanation, one, rows, network, rng, total):
    """Add the curves of one network and some patients; returns the sum of differences."""

    from imaging.learning.device import private_torch_state, resolve_device

    from .methods import baselines

    estimator, settings = one.part.estimator, explanation.study[1]
    device = resolve_device(estimator.device)
    model = explained_network(estimator, network, one.index, device)
    reference = baselines(estimator, network, settings.baseline)
    nothing, pixels = reference[0][0].numpy(), one.pictures.shape[2]
    with private_torch_state(None, estimator.n_threads):
        inputs = {name: values[rows] for name, values in one.inputs.items()}
        rest = [as_tensor(inputs[n]).float().to(device) for n in inputs if n != "image"]
        hidden = inputs["image"].copy()
        hidden[:, :, :pixels] = nothing[:, :pixels]
        ends = [_output(model, images, rest) for images in (inputs["image"], hidden)]
        sign = np.sign(ends[0] - ends[1])
        contributions = one.pictures[rows]
        if settings.method in ("gradient", "smoothgrad"):
            contributions = contributions * (inputs["image"] - hidden)[:, :, :pixels]
        for source in range(2):
            maps = contributions.sum(axis=1) * sign.reshape(-1, *(1,) * (hidden.ndim - 2))
            if source:
                maps = np.stack([_same_spectrum(values, rng) for values in maps])
            order = np.argsort(np.argsort(-maps.reshape(len(rows), -1), axis=1), axis=1)
            order = (order / order.shape[1]).reshape(maps.shape)[:, None]
            for step, fraction in enumerate(FRACTIONS):
                first = np.broadcast_to(order < fraction, hidden[:, :, :pixels].shape)
                for name, start, end in (
                    ("deletion", inputs["image"], hidden),
                    ("insertion", hidden, inputs["image"]),
                ):
                    images = start.copy()
                    images[:, :, :pixels][first] = end[:, :, :pixels][first]
                    left = (_output(model, images, rest) - ends[1]) * sign
                    total[name][source, step] += left.sum()
    return float(np.abs(ends[0] - ends[1]).sum())


def _output(model: ScalarOutput, images, rest):
    import torch

    device = next(model.network.parameters()).device
    with torch.inference_mode():
        return np.concatenate(
            [
                model(as_tensor(images[k : k + 1]).to(device), *(r[k : k + 1] for r in rest))
                .cpu()
                .numpy()
                for k in range(len(images))
            ]
        )


def _same_spectrum(values, rng):
    """A random map with the spectrum of this one: same variance, same smoothness."""
    noise = np.fft.rfftn(rng.standard_normal(values.shape))
    spectrum = np.abs(np.fft.rfftn(values))
    phases = noise / np.maximum(np.abs(noise), 1e-12)
    return np.fft.irfftn(spectrum * phases, values.shape, axes=range(values.ndim))


def _samples(explanation, n_patients):
    """Patients spread over all parts: (part, rows in it)."""
    found = explanation.study[0]
    counts = [len(one.part.rows) for one in found]
    chosen = np.unique(np.linspace(0, sum(counts) - 1, min(n_patients, sum(counts))).astype(int))
    start, samples = 0, []
    for one, count in zip(found, counts, strict=True):
        rows = chosen[(chosen >= start) & (chosen < start + count)] - start
        if len(rows):
            samples.append((one, rows))
        start += count
    return samples


def _seen(one):
    """Pixels that are not the same in everybody: the rest is zero in any map."""
    images = one.inputs["image"][:, :, : one.pictures.shape[2]]
    return images.std(axis=0) > 1e-6


def _rank_correlation(one, other):
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(stats.spearmanr(one, other).statistic)
