"""Cells of two tables of the report: who was studied, and scores group by group."""

import numpy as np
import pandas as pd

from ..statistics.characteristics import ALL
from .wording import format_number, score_title

__all__ = ["characteristics", "groups"]

MOST_VARIABLES = 20  # on the page; all are in the CSV file


def characteristics(comparison):
    """Heads and rows of Table 1, or None where nothing is known of the patients.

    Returns
    -------
    dict or None
        ``heads``, ``rows`` (a category has one for each level, of two levels only the last),
        ``rho`` (whether there are rank correlations with the outcome), ``hidden`` variables.
    """
    table = comparison.characteristics
    if not len(table):
        return None
    variables = list(dict.fromkeys(table["variable"]))
    shown = variables[:MOST_VARIABLES]
    names = list(dict.fromkeys(table["group"]))
    outcome = comparison.metadata["outcome"]
    n_rows = table.groupby("group", sort=False)[["n", "missing"]].first().sum(axis=1)
    heads = [
        {
            "name": "All" if name == ALL else f"{outcome} {name}",
            "count": f"n = {n_rows[name]}",
        }
        for name in names
    ]
    rows = []
    for variable in shown:
        part = table[table["variable"] == variable]
        levels = [None if pd.isna(one) else one for one in part["level"].unique()]
        if len(levels) == 2:
            levels = levels[1:]
        for level in levels:
            here = part if level is None else part[part["level"] == level]
            here = here.set_index("group").reindex(names)
            rows.append(
                {
                    "name": variable if level is None else f"{variable}: {level}",
                    "cells": [_cell(row, level) for _, row in here.iterrows()],
                    "missing": int(here["missing"].iloc[0]),
                    "rho": format_number(here["rho"].iloc[0], digits=2),
                }
            )
    return {
        "heads": heads,
        "rows": rows,
        "rho": bool(table["rho"].notna().any()),
        "hidden": len(variables) - len(shown),
    }


def groups(comparison):
    """Heads and rows of the table of scores by group, or None without groups."""
    table = comparison.by_group
    if not len(table):
        return None
    score = next(name for name in ("auc", "r", "accuracy") if name in table.columns)
    verdicts = comparison.group_verdicts
    first = table.loc[comparison.models[0]]
    heads = []
    for name, row in first.iterrows():
        count = f"n = {row['n']:.0f}"
        if "n_positive" in row:
            count += f", {row['n_positive']:.0f} positive"
        heads.append({"name": str(name), "count": count})
    if verdicts:
        heads += [{"name": "Within", "count": ""}, {"name": "All patients", "count": ""}]
    rows = []
    for name in comparison.models:
        found = table.loc[name]
        cells = [
            (row[score], row[f"{score}_low"], row[f"{score}_high"]) for _, row in found.iterrows()
        ]
        if verdicts:
            both = verdicts[name].within, verdicts[name].pooled
            cells += [(one.estimate, one.low, one.high) for one in both]
        rows.append(
            {
                "name": name,
                "cells": [_with_limits(*cell) for cell in cells],
                "caught": bool(verdicts) and verdicts[name].predicts_the_group,
            }
        )
    return {
        "by": comparison.metadata["by"],
        "score": score_title(score),
        "within": bool(verdicts),
        "apart": comparison.metadata.get("groups_apart", False),
        "heads": heads,
        "rows": rows,
    }


def _cell(row, level):
    if not row["n"] > 0:
        return "–", ""
    if level is not None:
        return f"{row['count']:.0f}", f"{100 * row['share']:.0f} %"
    digits = _digits(row)
    mean, sd, median, q1, q3 = (
        format_number(row[name], digits=digits) for name in ("mean", "sd", "median", "q1", "q3")
    )
    return f"{mean} ± {sd}", f"{median} ({q1} to {q3})"


def _digits(row):
    """Decimals that leave three digits or so of what varies."""
    spread = row["sd"] if np.isfinite(row["sd"]) and row["sd"] > 0 else abs(row["mean"])
    return int(np.clip(1 - np.floor(np.log10(spread)), 0, 4)) if spread > 0 else 0


def _with_limits(estimate, low, high):
    text, ends = format_number(estimate), [format_number(end, digits=2) for end in (low, high)]
    return text, "" if "–" in ends else f"{ends[0]} to {ends[1]}"
