"""How much of a network's attribution lies in each region's cell: saliency as one row per patient.

For ranking regions; maps for looking at come from `prognosis.explain`.
"""

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from .answers import prepared_inputs
from .region_masks import region_masks

__all__ = ["region_shares"]

STEPS = 16
BATCH = 16


def region_shares(estimator, X):
    """Shares of integrated gradients in the regions of the prepared image.

    Gradients of the log odds of the predicted class (or of the predicted outcome) are integrated
    from the mean training image to the patient's, and averaged over the networks.

    Parameters
    ----------
    estimator : fitted image estimator that sees regions
    X : DataFrame

    Returns
    -------
    DataFrame of shape (n_patients, n_regions)
        Sums of absolute attributions, divided by their total over all regions.

    References
    ----------
    Sundararajan et al. 2017, ICML (integrated gradients), as captum computes them.
    """
    import torch
    from captum.attr import IntegratedGradients

    from imaging.learning.device import private_torch_state

    inputs = prepared_inputs(estimator, X)
    images = torch.from_numpy(np.ascontiguousarray(inputs["image"], dtype=np.float32))
    tabular = None if "tabular" not in inputs else torch.from_numpy(inputs["tabular"])
    masks = region_masks(estimator)
    stacked = np.stack(list(masks.values()))
    total = np.zeros(images.shape, np.float64)
    with private_torch_state(n_threads=estimator.n_threads):
        for network in estimator.networks_:
            method = IntegratedGradients(_decision(network, is_classifier(estimator)))
            start = network.image_mean.expand(images.shape[1:])[None]
            for rows in torch.arange(len(images)).split(BATCH):
                values = None if tabular is None else tabular[rows]
                side = network(images[rows], values).argmax(dim=1)
                given = (side,) if values is None else (side, values)
                total[rows.numpy()] += (
                    method.attribute(
                        images[rows],
                        baselines=start.expand(len(rows), *start.shape[1:]),
                        additional_forward_args=given,
                        n_steps=STEPS,
                        internal_batch_size=4 * BATCH,
                    )
                    .detach()
                    .numpy()
                )
    strength = np.abs(total).sum(axis=1).reshape(len(images), -1) @ stacked.reshape(
        len(stacked), -1
    ).T.astype(np.float64)
    strength /= np.maximum(strength.sum(axis=1, keepdims=True), 1e-12)
    return pd.DataFrame(strength, index=X.index.rename("patient"), columns=list(masks))


def _decision(network, classification):
    """Log odds of the class `side` against the others, or the number a regressor predicts."""

    def decide(image, side, tabular=None):
        import torch

        outputs = network(image, tabular)
        if not classification:
            return outputs[:, 0]
        own = torch.nn.functional.one_hot(side, outputs.shape[1]).bool()
        others = outputs.masked_fill(own, -torch.inf).logsumexp(dim=1)
        return outputs.gather(1, side[:, None])[:, 0] - others

    return decide
