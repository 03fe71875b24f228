"""Every score of every model against the baseline's, with all tests that apply.

Over folds: the corrected resampled t-test, for any score. Over patients, whom repeats of the folds
do not multiply: DeLong's test for AUC, a paired t-test for scores that are means over patients.
"""

import numpy as np
import pandas as pd

from ..statistics.auc import delong_test
from ..statistics.scores import patient_losses, ranking
from ..statistics.significance import (
    DELONG,
    OVER_FOLDS,
    OVER_PATIENTS,
    adjust_p_values,
    corrected_resampled_ttest,
    paired_patient_ttest,
)
from ..statistics.thresholds import THRESHOLD_SCORES, called_rightly

__all__ = ["difference_table"]

COLUMNS = [
    *("model", "score", "test", "difference", "low", "high"),
    *("statistic", "df", "smallest", "p", "p_adjusted"),
]


def difference_table(comparison):
    """`Comparison.differences`."""
    rows = _over_folds(comparison) + _over_patients(comparison)
    if comparison.binary:
        rows += _delong(comparison)
    table = pd.DataFrame(rows, columns=COLUMNS[:-1])
    by_test = table.groupby(["score", "test"], sort=False)["p"]
    table["p_adjusted"] = by_test.transform(adjust_p_values)
    return table


def _over_folds(comparison):
    folds = comparison.folds.set_index(["repeat", "fold", "model"])
    baseline = comparison.baseline
    ratios = (folds["n_test"] / folds["n_train"]).unstack("model")[baseline]
    rows = []
    for score in comparison.scores:
        wide = folds[score].unstack("model")
        for name in _others(comparison):
            result = corrected_resampled_ttest(
                wide[name] - wide[baseline],
                ratios,
                df=comparison.df,
                confidence=comparison.confidence,
            )
            rows.append(_row(name, score, OVER_FOLDS, result))
    return rows


def _over_patients(comparison):
    """Scores that are means over patients; R² is one less a mean, where the outcome varies."""
    scores = ("r2", "mae") if comparison.classes is None else ("accuracy", "brier")
    base = comparison.patients(comparison.baseline)
    rows = []
    for name in _others(comparison):
        patients = comparison.patients(name).loc[base.index]
        found = {
            score: patient_losses(patients, comparison.classes, score)
            - patient_losses(base, comparison.classes, score)
            for score in scores
        }
        if comparison.threshold is not None:
            mine, theirs = (
                called_rightly(one, comparison.classes, comparison.threshold)
                for one in (patients, base)
            )
            counts = {"sensitivity": base["y"] == comparison.classes[1]}
            counts["specificity"] = ~counts["sensitivity"]
            found |= {s: (mine[s] - theirs[s])[counts[s].to_numpy()] for s in THRESHOLD_SCORES}
        for score, differences in found.items():
            result = paired_patient_ttest(differences, confidence=comparison.confidence)
            rows.append(_row(name, score, OVER_PATIENTS, result))
    return rows


def _delong(comparison):
    base = comparison.patients(comparison.baseline)
    positive = (base["y"] == comparison.classes[1]).to_numpy()
    base_values = ranking(base, comparison.classes)[:, 1]
    rows = []
    for name in _others(comparison):
        values = ranking(comparison.patients(name).loc[base.index], comparison.classes)[:, 1]
        if not np.isnan([values, base_values]).any():
            result = delong_test(positive, values, base_values, confidence=comparison.confidence)
            rows.append(_row(name, "auc", DELONG, result))
    return rows


def _others(comparison):
    return [name for name in comparison.models if name != comparison.baseline]


def _row(model, score, test, result):
    return {
        "model": model,
        "score": score,
        "test": test,
        "difference": result.difference,
        "low": result.low,
        "high": result.high,
        "statistic": result.statistic,
        "df": result.df,
        "smallest": result.smallest,
        "p": result.p_value,
    }
