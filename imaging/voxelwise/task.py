"""What one model from voxels to voxels is; everything else is the same for all of them."""

import numpy as np
from sklearn.base import BaseEstimator

from .scaling import Standardised

__all__ = ["Task"]


class Task(BaseEstimator):
    """What a network's outputs mean, what it learns from, and how it is scored.

    A subclass sets `outputs` and defines `ending`, `loss` and `score`; the rest may stay. It has
    parameters as scikit-learn's estimators have them: `__init__` stores them. Targets are arrays of
    shape ``(channels, *spatial)``, of any type.

    Attributes
    ----------
    outputs : tuple of str
        What the network's outputs are called, in their order.
    target_name : str
        What the target of a real scan is called in messages.
    score_name : str
        What `score` gives, for the progress bar.
    higher_is_better : bool
        Whether that is so of `score`.
    scaling : Standardised
        How images are scaled before the network sees them, and the scale undone.
    target_fill : float
        What a target holds beyond the edges of its scan.
    outside : sequence of float or None
        What every output is outside the head, where the network is not asked; None asks it
        everywhere.
    scan_noise : float
        Largest standard deviation of the noise of synthetic scans, see `synthetic_chain`.

    Examples
    --------
    A denoiser, whose target is the scan before noise was added (a step ``clean`` of one's own):

    >>> class Denoised(Task):
    ...     outputs = ("intensity",)
    ...
    ...     def loss(self):
    ...         return lambda outputs, target, step: (outputs - target).square().flatten(1).mean(1)
    ...
    ...     def score(self, outputs, target):
    ...         return [-float((outputs.cpu() - target).square().mean())]
    ...
    ...     def finished(self, prepared, values):
    ...         return self.scaling.undone(prepared.back(values[0]), prepared.upright)
    >>> Denoised().kept
    (0,)
    """

    outputs = ()
    target_name = "target"
    score_name = "score"
    higher_is_better = True
    scaling = Standardised()
    target_fill = 0
    outside = None
    scan_noise = 0.1

    @property
    def kept(self):
        """Numbers of the outputs that results are made of."""
        return tuple(range(len(self.outputs)))

    def settings(self):
        """What a training depends on beside its data, as plain values: all parameters.

        A checkpoint of another training is told by it.
        """
        return self.get_params(deep=False)

    def ending(self):
        """The last steps of a synthetic sample, which leave ``image`` and ``target``.

        See `imaging.synthesis.synthetic_chain`.
        """
        raise NotImplementedError

    def variations(self, *, augment, signed, **geometry):
        """The steps that vary a real scan and its target, or None to leave it as it is.

        Parameters
        ----------
        augment : bool
            Whether geometry, grey scale and noise are to be varied.
        signed : bool
            Whether the scan came with a sign.
        **geometry
            `spacing_mm` and `mirror`, for `imaging.synthesis.real_chain`.
        """
        from ..synthesis.recipes import real_chain

        return real_chain(**geometry, signed=signed) if augment else None

    def loss(self):
        """A function of (outputs, target, step) that gives the loss of every sample.

        Outputs are a tensor of shape ``(batch, n_outputs, *spatial)``, or a list of these, coarse
        to fine, with deep supervision; `step` counts the batches of the training.
        """
        raise NotImplementedError

    def score(self, outputs, target):
        """Scores of one validation scan, always as many; their mean chooses the epoch.

        Parameters
        ----------
        outputs : Tensor of shape ``(n_outputs, *spatial)``
            As the network gives them.
        target : ndarray of shape ``(channels, *spatial)``

        Returns
        -------
        list of float
        """
        raise NotImplementedError

    def activated(self, outputs):
        """Outputs of the network, ``(batch, n_outputs, *spatial)``, as results: probabilities."""
        return outputs

    def centres(self, target):
        """Where a training patch may be centred: indices into the flat target; none: anywhere."""
        return np.empty(0, int)

    def real_target(self, given, prepared):
        """The target of a real scan on the voxels of the network, shape ``(channels, *spatial)``.

        Parameters
        ----------
        given : object
            What `fit` was given for this scan, usually a path or image.
        prepared : Prepared
            The scan, see `imaging.voxelwise.geometry.prepare`.
        """
        raise ValueError(
            f"{type(self).__name__} learns from synthetic scans only; fit it without X and y"
        )

    def finished(self, prepared, values):
        """What `predict` gives of a scan, on its own upright voxels.

        Parameters
        ----------
        prepared : Prepared
            The scan.
        values : ndarray of shape ``(n_kept, *spatial)``, float32
            Results on the voxels of the network.

        Returns
        -------
        ndarray of shape ``(*upright)`` or ``(*upright, channels)``
        """
        maps = [prepared.back(one) for one in values]
        return maps[0] if len(maps) == 1 else np.stack(maps, -1)

    def real_score(self, found, given, prepared):
        """How right a finished result is, for `score` of the model; higher is better."""
        raise ValueError(f"{type(self).__name__} cannot be scored on real scans")
