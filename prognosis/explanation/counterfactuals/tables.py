"""Counterfactual explanations as tables: swaps, fidelity, and the importance of regions."""

import numpy as np
import pandas as pd

from ...evaluation.statistics.intervals import bootstrap_interval

__all__ = ["fidelity_table", "region_importance", "swap_table"]


def swap_table(explanations, sides, names):
    """One row per minimal swap that changes a prediction."""
    rows = []
    for one in explanations:
        swaps = one.swaps[one.minimal]
        said = sides.readable(one.margins[one.minimal], one.own)
        fitted = sides.readable(one.regression.predict(swaps), one.own)
        for swap, answer, estimate in zip(swaps, said, fitted, strict=True):
            chosen = tuple(names[k] for k in np.flatnonzero(swap))
            rows.append((one.patient, one.contrast, chosen, len(chosen), answer, estimate))
    columns = ["patient", "contrast", "regions", "n_regions", "answer", "regression"]
    table = pd.DataFrame(rows, columns=columns)
    table["fidelity_error"] = (table["answer"] - table["regression"]).abs().astype(float)
    return table


def fidelity_table(explanations, sides, sizes):
    """One row per explanation: how well its regression does what the network does."""
    rows = []
    for one in explanations:
        fitted = one.regression.predict(one.swaps)
        error = np.abs(sides.readable(one.margins, one.own) - sides.readable(fitted, one.own))
        found = one.swaps[one.minimal].sum(axis=1)
        rows.append(
            {
                "patient": one.patient,
                "contrast": one.contrast,
                "predicted": sides.names[one.own],
                "contrast_predicted": sides.names[one.other],
                "answer": float(sides.readable(one.regression.start, one.own)),
                "answer_all": float(sides.readable(one.margin_all, one.own)),
                **{f"n_{size}": int((found == size).sum()) for size in sizes},
                "fidelity_error": error[one.minimal].mean() if one.minimal.any() else np.nan,
                "agreement": float(((one.margins < 0) == (fitted < 0)).mean()),
                "r2": one.regression.r2,
            }
        )
    return pd.DataFrame(rows)


def region_importance(coefficients, swaps=None):
    """Importance of regions over patients, with bootstrap limits.

    Contrasts of one patient are averaged first: they are not new patients.
    """
    strength = coefficients.abs().groupby(level=0, sort=False).mean()
    balance = coefficients.groupby(level=0, sort=False).mean().mean()
    intervals = {name: bootstrap_interval(_mean, strength[name]) for name in coefficients}
    table = pd.DataFrame(
        {
            "importance": {name: one.estimate for name, one in intervals.items()},
            "low": {name: one.low for name, one in intervals.items()},
            "high": {name: one.high for name, one in intervals.items()},
            "support": balance,
        }
    ).loc[coefficients.columns]
    table["share"] = table["importance"] / max(table["importance"].sum(), 1e-12)
    if swaps is not None:
        named = swaps.explode("regions").drop_duplicates(["patient", "regions"])["regions"]
        counts = named.value_counts().reindex(table.index, fill_value=0)
        table["in_counterfactuals"] = counts / len(strength)
    table.index.name = "region"
    return table.sort_values("importance", ascending=False, kind="stable")


def _mean(values):
    return values.mean(axis=-1)
