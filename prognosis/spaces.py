"""What follows from the space check: images that cannot be right are refused, doubtful ones named.

The check itself is `imaging.spaces`; every reader of template coordinates comes here with what it
found of the images of one column.
"""

import warnings

from imaging.parameters import StrOptions, parameter, parameters
from imaging.spaces.checking import REMEDY
from imaging.spaces.verdicts import WRONG

from .cells import listing
from .errors import CohortError

__all__ = ["ReadsTemplate", "judge_spaces"]

_SHOWN = 5


@parameters
class ReadsTemplate:
    """The parameter of whatever reads coordinates of template space."""

    space: str = parameter(
        "template",
        StrOptions({"template", "native"}),
        kind='{"template", "native"}',
        doc="""
        "template": images that cannot lie in template (MNI) space are refused, doubtful ones are
        named in one warning (`check_images` draws them). "native": this is not looked at, and
        positions mean nothing: regions, cubes and maps over patients then say nothing of the brain;
        sizes, numbers of lesions and the predictions of networks keep their meaning.
        """,
    )


def judge_spaces(X, column, verdicts, *, refuse=True, stacklevel=2):
    """Refuse or name the images of a column that do not lie in template space.

    Parameters
    ----------
    X : DataFrame
    column : str
    verdicts : sequence of SpaceVerdict or None
        One for each row; None where there was nothing to look at, as of 2-D pictures.
    refuse : bool, default=True
        Refuse those that are wrong, and name those that are doubtful. False: where places count
        for less, name those that are wrong.
    stacklevel : int
        Of the warning.

    Raises
    ------
    CohortError
        If an image is wrong, and `refuse`; the message names its row.

    Warns
    -----
    UserWarning
        One for the column, which names the rows.
    """
    found = {
        row: verdict
        for row, verdict in zip(X.index, verdicts, strict=True)
        if verdict is not None and not verdict.ok
    }
    wrong = [row for row, verdict in found.items() if verdict.verdict == WRONG]
    if not refuse:
        found = {row: found[row] for row in wrong}
    elif wrong:
        first, others = wrong[0], wrong[1:]
        further = f" (so are {len(others)} more: {listing(others)})" if others else ""
        raise CohortError(
            f"row {first!r}, column {column!r}: this {found[first].kind} does not lie in template "
            f"(MNI) space: {_reasons(found[first])}{further}; {REMEDY}"
        )
    if not found:
        return
    may = "may" if refuse else "do"
    warnings.warn(
        f"column {column!r}: {len(found)} of {len(X)} images {may} not lie in template (MNI) "
        f"space: {_by_reason(found)}. Look at them: prognosis.check_images(X, {[column]!r}); if "
        'positions need not mean anything, say space="native"',
        UserWarning,
        stacklevel=stacklevel + 1,
    )


def _by_reason(found):
    """Rows by what was found, each reason once."""
    rows = {}
    for row, verdict in found.items():
        rows.setdefault(_reasons(verdict), []).append(row)
    shown = [f"{listing(those)} ({reason})" for reason, those in list(rows.items())[:_SHOWN]]
    others = [row for those in list(rows.values())[_SHOWN:] for row in those]
    return ", ".join([*shown, *([f"also {listing(others)}"] if others else [])])


def _reasons(verdict):
    return "; ".join(verdict.reasons)
