"""Attribution by region of an atlas: how much, in which direction, and how surely over patients."""

import numpy as np
import pandas as pd
from scipy import stats

__all__ = ["region_table"]


def region_table(net, absolute, volume_ml, *, confidence=0.95, rank_by="strength"):
    """Summarise regions over patients.

    Parameters
    ----------
    net : DataFrame, patients x regions
        Sum of the attribution in each region.
    absolute : DataFrame, patients x regions
        Sum of its absolute values.
    volume_ml : ndarray of shape (n_regions,)
        What is seen of each region.
    confidence : float, default=0.95
    rank_by : str, default="strength"
        Column to sort by, largest first (absolute values).

    Returns
    -------
    DataFrame, indexed by region; see `Explanation.by_region`.
    """
    count = len(net)
    mean = net.mean()
    error = net.std(ddof=1) / np.sqrt(count) if count > 1 else mean * np.nan
    reach = stats.t.ppf((1 + confidence) / 2, max(1, count - 1)) * error
    strength = net.abs().mean()
    voxels = absolute.mean()
    table = pd.DataFrame(
        {
            "attribution": mean,
            "low": mean - reach,
            "high": mean + reach,
            "sign": np.sign(mean).astype(int),
            "strength": strength,
            "absolute": voxels,
            "share": voxels / max(voxels.sum(), np.finfo(float).tiny),
            "density": strength / volume_ml,
            "volume_ml": volume_ml,
        }
    )
    if rank_by not in table:
        raise ValueError(f"rank_by must be among {list(table)}, got {rank_by!r}")
    order = table[rank_by].abs().sort_values(ascending=False, kind="stable").index
    table = table.loc[order]
    table.index.name = "region"
    return table
