"""What a counterfactual explanation holds: tables of swaps, regions and patients, and a figure.

Its printed form says how far it can be trusted.
"""

from dataclasses import dataclass, field

import pandas as pd

__all__ = ["Counterfactuals"]


@dataclass(repr=False)
class Counterfactuals:
    """Explanations of several patients by swapped regions.

    Attributes
    ----------
    swaps : DataFrame, one row per counterfactual
        Minimal swaps that change the prediction: "patient", "contrast", "regions" (tuple of
        names), "n_regions", "answer" (what the network says after the swap: the probability of
        the class predicted before, or the predicted outcome), "regression" (what the local
        regression says), "fidelity_error" (absolute difference of the two).
    importance : DataFrame, one row per region, the most important first
        Over patients: "importance" (mean absolute coefficient; log odds, or units of the outcome)
        with 95 % bootstrap limits "low" and "high", "support" (mean coefficient: how much the
        region holds up the predictions made, on balance), "share" of the importances' sum,
        "in_counterfactuals" (fraction of patients with the region in a minimal swap).
    fidelity : DataFrame, one row per patient and contrast
        "patient", "contrast", "predicted", "contrast_predicted", "answer" before any swap,
        "answer_all" with every region swapped, "n_1", "n_2", "n_3", ... (minimal counterfactuals
        by size), "fidelity_error" (mean over these; NaN where there is none), "agreement"
        (fraction of all swaps that regression and network put on the same side) and "r2".
    coefficients : DataFrame of shape (n_patients x n_contrasts, n_regions)
        Of the local regressions, in the order of `fidelity`, indexed by patient.
    exhaustive : bool
        Whether every swap up to the largest size was tried.
    unit : str
        Of the coefficients.

    Examples
    --------
    >>> from prognosis import RoiSymbolClassifier, counterfactuals, make_stroke_cohort
    >>> X, y = make_stroke_cohort(24, spacing_mm=8, random_state=0)
    >>> cnn = RoiSymbolClassifier(
    ...     "t1w", regions=3, mosaic_size=32, epochs=4, learning_rate=3e-3, random_state=0
    ... )
    >>> found = counterfactuals(cnn.fit(X, y), X, X.index[:2], X_reference=X)
    >>> found.fidelity.columns[:4].tolist(), found.exhaustive, found.unit
    (['patient', 'contrast', 'predicted', 'contrast_predicted'], True, 'log odds')
    >>> found.importance["share"].sum().round(9).item()
    1.0
    """

    swaps: pd.DataFrame
    importance: pd.DataFrame
    fidelity: pd.DataFrame
    coefficients: pd.DataFrame
    exhaustive: bool
    unit: str
    _sizes: list = field(default_factory=list)

    def __repr__(self):
        patients = self.fidelity.groupby("patient", sort=False)
        smallest = self.swaps.groupby("patient")["n_regions"].min()
        by_size = ", ".join(
            f"{int((smallest == size).sum())} by {size} region{'s' if size > 1 else ''}"
            for size in self._sizes
        )
        error = "no counterfactual"
        if len(self.swaps):
            mean = self.swaps["fidelity_error"].mean()
            error = f"fidelity error {mean:.3f} at {len(self.swaps)} counterfactuals"
        lines = [
            f"Counterfactual explanations of {len(patients)} patients, "
            f"{len(self.importance)} regions swapped with a contrast patient's",
            f"prediction changed in {len(smallest)}: {by_size}",
            f"{error}; regression and network agree on {self.fidelity['agreement'].mean():.1%} of "
            f"all swaps, median R² {self.fidelity['r2'].median():.2f}",
            f"importance = mean |coefficient| ({self.unit}), 95 % bootstrap over patients:",
            self.importance.head(12).round(3).to_string(),
        ]
        if len(self.importance) > 12:
            lines.append(f"... and {len(self.importance) - 12} more in .importance")
        return "\n".join(lines)

    def plot(self, n_regions=12):
        """Importance of the first regions with its limits.

        Parameters
        ----------
        n_regions : int, default=12

        Returns
        -------
        matplotlib.figure.Figure
            Not registered with pyplot: save it, or let a notebook show it.
        """
        from matplotlib.figure import Figure

        shown = self.importance.head(n_regions)[::-1]
        figure = Figure(figsize=(7, 0.8 + 0.32 * len(shown)), layout="constrained")
        axes = figure.subplots()
        below, above = shown["importance"] - shown["low"], shown["high"] - shown["importance"]
        axes.barh(shown.index, shown["importance"], xerr=[below, above], color="#4c9be8")
        axes.plot(shown["support"], shown.index, "D", color="#b35806", label="support (mean)")
        axes.axvline(0, color="0.4", linewidth=0.8)
        axes.set_xlabel(f"what a region contributes to a prediction ({self.unit})")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right")
        return figure
