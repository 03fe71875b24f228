"""Scores group by group (hospital, scanner, sex), and whether a model has learnt the groups.

Where outcomes differ between hospitals, a model that recognises the hospital predicts the outcome
of all patients taken together, and nothing about two patients of one hospital.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .auc import auc_interval, auc_variance
from .intervals import (
    Interval,
    bootstrap_interval,
    correlation_interval,
    logit_interval,
    wilson_interval,
)
from .scores import ranking

__all__ = ["GroupVerdict", "group_table", "judge_groups"]

N_SHUFFLES = 999
DIFFERS = 0.01  # the p value below which predictions are said to differ between groups


@dataclass(frozen=True)
class GroupVerdict:
    """What a model's predictions have to do with the groups.

    Attributes
    ----------
    score : str
        "auc", or "r" for regression.
    pooled, within : Interval
        The score over all patients, and over patients of the same group: pairs of one group for
        AUC, deviations from the group's means for r.
    p_differs : float
        p value of the predictions of patients with like outcomes being alike in all groups. NaN
        where every group was predicted by models that did not know it.
    """

    score: str
    pooled: Interval
    within: Interval
    p_differs: float

    @property
    def predicts_the_group(self):
        """Whether it tells groups apart, and is not shown to tell anything within them."""
        chance = 0.5 if self.score == "auc" else 0.0
        blind = not self.within.low > chance  # NaN is not shown either
        return bool(self.p_differs < DIFFERS and blind)


def group_table(patients, classes, groups, *, confidence=0.95, random_state=0):
    """Scores of one model in every group.

    Parameters
    ----------
    patients : DataFrame
        From `patient_table`.
    classes : list or None
    groups : Series, indexed by patient
    confidence : float, default=0.95
    random_state : int, default=0
        Of the bootstrap.

    Returns
    -------
    DataFrame, indexed by group
        ``n``; of two classes ``n_positive``, ``auc`` and ``accuracy``, of more ``accuracy``, of a
        regression ``r`` and ``mae``, each with ``_low`` and ``_high``. NaN where a group holds one
        class only.
    """
    rows = {}
    for name, part in patients.groupby(groups.reindex(patients.index), sort=True):
        row = {"n": len(part)}
        if classes is None:
            found = _of_numbers(part, confidence, random_state)
        else:
            found = _of_classes(part, classes, confidence)
            if len(classes) == 2:
                row["n_positive"] = int((part["y"] == classes[1]).sum())
        for score, interval in found.items():
            row |= {score: interval.estimate}
            row |= {f"{score}_low": interval.low, f"{score}_high": interval.high}
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")


def judge_groups(patients, classes, groups, *, known=True, confidence=0.95, random_state=0):
    """Whether predictions tell the groups rather than the outcome.

    Parameters
    ----------
    patients, classes, groups, confidence, random_state
        As `group_table`; two classes, or a regression.
    known : bool, default=True
        Whether the models were trained on patients of the groups they predicted. If not,
        predictions differ between groups because the models do.

    Returns
    -------
    GroupVerdict

    Notes
    -----
    Predictions of patients with like outcomes (the same class, or the same quarter of a numeric
    outcome) are compared between groups by their ranks, with 999 seeded permutations within the
    outcome (a stratified Kruskal-Wallis test). The AUC within groups is the mean of the groups',
    weighted by pairs, with DeLong's variances.

    References
    ----------
    Robinson 1950, American Sociological Review 15:351-357, on correlations between and within
    groups; Zech et al. 2018, PLOS Medicine 15:e1002683, on networks that recognise the hospital.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> hospital = pd.Series(np.repeat(["A", "B"], 60))
    >>> y = (rng.random(120) < np.where(hospital == "A", 0.7, 0.2)).astype(int)
    >>> probability = np.where(hospital == "A", 0.7, 0.2) + rng.normal(0, 0.05, 120)
    >>> patients = pd.DataFrame({"y": y, "probability": probability})
    >>> found = judge_groups(patients, [0, 1], hospital)
    >>> found.predicts_the_group, found.pooled.estimate > 0.65 > found.within.estimate
    (True, True)
    """
    groups = groups.reindex(patients.index).to_numpy()
    y = patients["y"].to_numpy()
    if classes is None:
        values = patients["prediction"].to_numpy(dtype=float)
        pooled = correlation_interval(y, values, confidence=confidence)
        within = _r_within(y, values, groups, confidence)
        alike, score = pd.qcut(y, 4, labels=False, duplicates="drop"), "r"
    else:
        values = ranking(patients, classes)[:, 1]
        positive = y == classes[1]
        nothing = Interval(np.nan, np.nan, np.nan)
        known_values = not np.isnan(values).any()
        pooled = auc_interval(positive, values, confidence=confidence) if known_values else nothing
        within = _auc_within(positive, values, groups, confidence) if known_values else nothing
        alike, score = positive, "auc"
    p = np.nan
    if known and not np.isnan(values).any():
        p = _differs(values, groups, alike, random_state)
    return GroupVerdict(score, pooled, within, p)


def _of_classes(part, classes, confidence):
    right = wilson_interval(part["correct"].sum(), len(part), confidence=confidence)
    if len(classes) > 2:
        return {"accuracy": right}
    values, positive = ranking(part, classes)[:, 1], (part["y"] == classes[1]).to_numpy()
    area = Interval(np.nan, np.nan, np.nan)
    if not np.isnan(values).any() and 0 < positive.sum() < positive.size:
        area = auc_interval(positive, values, confidence=confidence)
    return {"auc": area, "accuracy": right}


def _of_numbers(part, confidence, random_state):
    y, guess = part["y"].to_numpy(dtype=float), part["prediction"].to_numpy(dtype=float)
    errors = np.abs(y - guess)
    drawn = {"confidence": confidence, "random_state": random_state}
    return {
        "r": correlation_interval(y, guess, confidence=confidence),
        "mae": bootstrap_interval(lambda values: values.mean(axis=-1), errors, **drawn),
    }


def _auc_within(positive, values, groups, confidence):
    """Pairs of one group: the groups' AUCs, weighted by their pairs."""
    areas, variances, weights = [], [], []
    for name in pd.unique(groups):
        here = groups == name
        m, n = int(positive[here].sum()), int((~positive[here]).sum())
        if m and n:
            area, variance = auc_variance(positive[here], values[here])
            areas.append(area)
            variances.append(variance)
            weights.append(m * n)
    if not weights:
        return Interval(np.nan, np.nan, np.nan)
    shares = np.array(weights) / np.sum(weights)
    area = float(shares @ areas)
    error = np.sqrt(shares**2 @ variances)
    if area in (0.0, 1.0) or error == 0:
        return Interval(area, np.nan, np.nan)
    return logit_interval(area, error, confidence=confidence)


def _r_within(y, values, groups, confidence):
    table = pd.DataFrame({"y": y.astype(float), "values": values})
    centred = table - table.groupby(groups).transform("mean")
    return correlation_interval(centred["y"], centred["values"], confidence=confidence)


def _differs(values, groups, alike, random_state):
    """p value of a stratified Kruskal-Wallis test, by permutations within like outcomes."""
    rng = np.random.default_rng(random_state)
    codes, names = pd.factorize(groups)
    member = np.eye(len(names))[codes]
    total, shuffled = 0.0, np.zeros(N_SHUFFLES)
    for level in np.unique(alike):
        here = alike == level
        ranks = stats.rankdata(values[here])
        ranks -= ranks.mean()
        sizes = np.maximum(member[here].sum(axis=0), 1)
        # The same permutations of patients whatever the group: rows are orders of the ranks.
        orders = rng.permuted(np.tile(ranks, (N_SHUFFLES, 1)), axis=1)
        total += ((ranks @ member[here]) ** 2 / sizes).sum()
        shuffled += ((orders @ member[here]) ** 2 / sizes).sum(axis=1)
    return float((1 + np.sum(shuffled >= total - 1e-9)) / (1 + N_SHUFFLES))
