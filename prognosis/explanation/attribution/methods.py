"""Attribution by captum, many patients at a time: what each pixel adds to what is explained.

Memory is bounded: how many patients, steps or perturbations are computed at once follows from the
size of the network's activations.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from imaging.learning.device import private_torch_state, resolve_device
from imaging.storage.tensors import as_tensor

from .gradcam import class_activation
from .networks import explained_network, internal_batch_size
from .tabular import encoded_sources, tabular_baseline

__all__ = ["METHODS", "Attribution", "Settings", "attribute"]

METHODS = ("integrated_gradients", "gradient", "smoothgrad", "gradcam", "occlusion")


@dataclass(frozen=True)
class Settings:
    """How to attribute; see `prognosis.explain`."""

    method: str = "integrated_gradients"
    baseline: str = "mean"
    n_steps: int = 8
    max_steps: int = 512
    tolerance: float = 0.05
    n_samples: int = 25
    noise: float = 0.1
    batch_size: int | None = None
    random_state: int = 0


@dataclass(frozen=True)
class Attribution:
    """Of one estimator: the mean over its networks.

    Attributes
    ----------
    image : ndarray of shape (n_patients, n_channels, ...), float32
    tabular : ndarray of shape (n_patients, n_features) or None
    output, reference : ndarray of shape (n_patients,)
        What is explained, for the patient and for the baseline.
    n_steps : ndarray of int, shape (n_patients,)
        Of integrated gradients, the most of any network; 0 for other methods.
    """

    image: np.ndarray
    tabular: np.ndarray | None
    output: np.ndarray
    reference: np.ndarray
    n_steps: np.ndarray


def _import_quietly():
    """Import captum before it is used: its progress bars ask notebooks for a widget, and warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        import captum.attr  # noqa: F401


def attribute(estimator, inputs, index, settings, features=None, networks=None):
    """Attribute what an estimator predicts to its inputs.

    Parameters
    ----------
    estimator : Explainable
        Never changed.
    inputs : dict of str to ndarray
        "image" and, if there are tabular columns, "tabular", as the networks see them.
    index : int or None
        The class, None for a regressor.
    settings : Settings
    features : ndarray of int, shape (1, n_channels, ...), default=None
        For occlusion: which pixels are replaced together.
    networks : list of torch.nn.Module, default=None
        Others than the estimator's own, for checks.

    Returns
    -------
    Attribution
    """
    networks = estimator.networks_ if networks is None else networks
    device = resolve_device(estimator.device)
    tensors = tuple(as_tensor(np.ascontiguousarray(a)).float() for a in inputs.values())
    found = []
    _import_quietly()
    # captum computes in torch's random state and thread count: both are lent and given back
    with private_torch_state(settings.random_state, estimator.n_threads):
        for network in networks:
            model = explained_network(estimator, network, index, device)
            batch = settings.batch_size or internal_batch_size(model, tensors)
            reference = baselines(estimator, network, settings.baseline)
            found.append(
                _by_method(estimator, model, tensors, reference, settings, features, batch)
            )
    images, tabular, outputs, references, steps = zip(*found, strict=True)
    return Attribution(
        np.mean(images, axis=0),
        None if tabular[0] is None else np.mean(tabular, axis=0),
        np.mean(outputs, axis=0),
        np.mean(references, axis=0) * np.ones(len(tensors[0])),
        np.max(steps, axis=0),
    )


def baselines(estimator, network, kind):
    """The inputs that say nothing, as tensors of one patient: image and, if any, tabular."""
    image = network.image_mean[None].float()
    if kind == "zero":
        image = torch.zeros_like(image)
    if not hasattr(estimator, "encoder_"):
        return (image,)
    return image, torch.from_numpy(tabular_baseline(estimator.encoder_))


def _by_method(estimator, model, tensors, reference, settings, features, batch):
    """Attributions of one network: image, tabular, outputs, output of the baseline, steps."""
    compute = {
        "integrated_gradients": _integrated_gradients,
        "gradient": _gradient,
        "smoothgrad": _smoothgrad,
        "gradcam": class_activation,
        "occlusion": _occlusion,
    }[settings.method]
    device = next(model.network.parameters()).device
    reference = tuple(values.to(device) for values in reference)
    extra = {"features": _tabular_features(estimator, features)} if features is not None else {}
    count = len(tensors[0])
    # even parts, so that no call rests on a remnant
    chunks = np.array_split(np.arange(count), -(-count // batch))
    image = np.empty(tensors[0].shape, np.float32)
    tabular = None if len(tensors) == 1 else np.zeros(tensors[1].shape, np.float32)
    outputs, steps = np.empty(count), np.zeros(count, int)
    for rows in chunks:
        given = tuple(values[rows].to(device) for values in tensors)
        with warnings.catch_warnings():
            # captum says that it sets requires_grad on the copies it is given
            warnings.filterwarnings("ignore", message="Input Tensor .* did not already require")
            parts, taken = compute(model, given, reference, settings, batch, **extra)
        if settings.method != "gradient":  # which computes just this
            with torch.no_grad():
                model(*given)
        outputs[rows] = model.latest.cpu().numpy()
        image[rows] = parts[0].detach().cpu().numpy()
        if len(parts) > 1:
            tabular[rows] = parts[1].detach().cpu().numpy()
        steps[rows] = taken
    with torch.no_grad():
        nothing = model(*reference).cpu().numpy()
    return image, tabular, outputs, nothing, steps


def _gradient(model, given, reference, settings, batch):
    from captum.attr import Saliency

    return Saliency(model).attribute(given, abs=False), 0


def _smoothgrad(model, given, reference, settings, batch):
    from captum.attr import NoiseTunnel, Saliency

    found = NoiseTunnel(Saliency(model)).attribute(
        given,
        nt_type="smoothgrad",
        nt_samples=settings.n_samples,
        nt_samples_batch_size=max(1, batch // len(given[0])),
        # images lie in [0, 1]; tabular values stay as they are
        stdevs=(settings.noise, 0.0)[: len(given)],
        abs=False,
    )
    return found, 0


def _integrated_gradients(model, given, reference, settings, batch):
    """Steps are doubled for the patients whose attributions do not add up yet."""
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(model)
    with torch.no_grad():
        wanted = model(*given) - model(*reference)
    # a fortieth of a unit of log odds (or of a standard deviation) is no error to mend
    allowed = settings.tolerance * wanted.abs().clamp(min=0.5 * abs(model.scale))
    taken = np.zeros(len(wanted), int)
    result = tuple(torch.zeros_like(values) for values in given)
    rows, steps = torch.arange(len(wanted), device=wanted.device), settings.n_steps
    while len(rows):
        part = tuple(values[rows] for values in given)
        found = method.attribute(
            part,
            baselines=tuple(r.expand_as(p) for r, p in zip(reference, part, strict=True)),
            n_steps=steps,
            internal_batch_size=max(batch, len(rows)),
        )
        for whole, values in zip(result, found, strict=True):
            whole[rows] = values.to(whole.dtype)
        taken[rows.cpu().numpy()] = steps
        total = sum(values.flatten(1).sum(dim=1) for values in found)
        wrong = (total - wanted[rows]).abs() > allowed[rows]
        steps *= 2
        rows = rows[wrong] if steps <= settings.max_steps else rows[:0]
    return result, taken


def _tabular_features(estimator, features):
    """Groups of inputs that are replaced together: pixels, and the features of a column."""
    features = torch.from_numpy(features.copy())
    if not hasattr(estimator, "encoder_"):
        return (features,)
    sources, _ = encoded_sources(estimator.encoder_)
    order = {name: number for number, name in enumerate(dict.fromkeys(sources))}
    first = int(features.max()) + 1
    return features, torch.tensor([[first + order[name] for name in sources]])


def _occlusion(model, given, reference, settings, batch, features):
    """What is lost when a region is replaced by the baseline, spread evenly over its pixels."""
    from captum.attr import FeatureAblation

    device = given[0].device
    features = tuple(values.to(device) for values in features)
    found = FeatureAblation(model).attribute(
        given,
        baselines=tuple(r.expand_as(p) for r, p in zip(reference, given, strict=True)),
        feature_mask=features,
        perturbations_per_eval=max(1, batch // len(given[0])),
    )
    spread = []
    for values, groups in zip(found, features, strict=True):
        sizes = torch.bincount(groups.flatten())
        spread.append(values / sizes[groups])
    return tuple(spread), 0
