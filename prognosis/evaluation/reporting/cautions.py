"""What a comparison could not show, in words: what was not tested, what tells the group only."""

import numpy as np

from ..statistics.significance import OVER_FOLDS
from .wording import (
    describe_cv,
    format_number,
    format_p,
    listing,
    quoted,
    score_name,
    score_title,
)

__all__ = ["by_group", "few_degrees", "partly_tested", "reach", "scores_tested", "why_untested"]

FEW_DEGREES = 4  # of freedom, below which a t-test over folds can show only large differences


def scores_tested(comparison, name):
    """The scores in which a model was tested against the baseline at all."""
    row = comparison.table.loc[name]
    return [score for score in comparison.tested if not np.isnan(row[f"{score}_p"])]


def why_untested(comparison):
    """Why there is no test, as half a sentence."""
    about = comparison.metadata
    if about["n_folds"] * about["n_repeats"] == 1:
        return "one split of the patients has no spread between folds, so take cv=5 or more"
    return "the scores are not known in every fold, or the models give no probabilities"


def partly_tested(comparison, others):
    """Scores that no model was tested in, while others were: a list of at most one sentence."""
    known = {score for name in others for score in scores_tested(comparison, name)}
    missing = [score_name(score) for score in comparison.tested if score not in known]
    if not missing or not known:
        return []
    return [f"Not tested: differences in {listing(missing)} ({why_untested(comparison)})."]


def reach(comparison, names):
    """The smallest differences that the tests of these models could have shown, in a sentence."""
    long, parts = comparison.differences, []
    for score, test in comparison.tested.items():
        chosen = long[(long["score"] == score) & (long["test"] == test)]
        smallest = chosen.loc[chosen["model"].isin(names), "smallest"].dropna()
        smallest = smallest[smallest > 0]  # zero: the models never differ
        if len(smallest):
            ends = [format_number(value) for value in (smallest.min(), smallest.max())]
            span = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
            parts.append(f"{span} in {score_name(score)}")
    if not parts:
        return ""
    return f"To be significant, it would have had to be at least {listing(parts)}."


def few_degrees(comparison):
    """A caution where a t-test over so few folds decides: a list of at most one sentence."""
    tests, folds = comparison.differences, describe_cv(comparison.metadata)
    scores = [score for score, test in comparison.tested.items() if test == OVER_FOLDS]
    found = tests[tests["score"].isin(scores) & (tests["test"] == OVER_FOLDS)]["df"].dropna()
    if not len(found) or found.min() >= FEW_DEGREES:
        return []
    degrees = f"{found.min():.1f}".removesuffix(".0")
    degrees += " degree" if degrees == "1" else " degrees"
    return [
        f"The t-test over folds of {listing([score_name(score) for score in scores])} has only "
        f"{degrees} of freedom ({folds}) and shows large differences only; take more folds, or "
        "draw them more often."
    ]


def by_group(comparison):
    """Models that predict the group, and what is left of them within the groups: sentences."""
    verdicts, name = comparison.group_verdicts, comparison.metadata.get("by")
    found = [
        _predicts_group(model, verdict, name)
        for model, verdict in verdicts.items()
        if verdict.predicts_the_group
    ]
    if verdicts and comparison.metadata.get("groups_apart"):
        texts = [f"{quoted(model)} {_interval(one.within)}" for model, one in verdicts.items()]
        score = score_title(next(iter(verdicts.values())).score)
        found.append(
            f"Every {name} was predicted by models that had not seen it. {score} within one "
            f"{name}, with 95 % interval: {', '.join(texts)}."
        )
    return found


def _predicts_group(model, verdict, name):
    score, p = score_name(verdict.score), format_p(verdict.p_differs)
    return (
        f"{quoted(model)} predicts the {name} rather than the outcome: of patients with like "
        f"outcomes its predictions differ by {name} (p {p if p.startswith('<') else f'= {p}'}), "
        f"and within one {name} its {score} is {_interval(verdict.within)}, against "
        f"{format_number(verdict.pooled.estimate, digits=2)} over all patients. Test it on a "
        f"{name} that it has not seen: groups={name!r}."
    )


def _interval(found):
    text = format_number(found.estimate, digits=2)
    ends = [format_number(value, digits=2) for value in (found.low, found.high)]
    return text if "–" in ends else f"{text} ({ends[0]} to {ends[1]})"
