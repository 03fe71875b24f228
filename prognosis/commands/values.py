"""Types of options: what stands on the command line becomes a value, or one sentence.

argparse makes exit code 2 of the sentence. Bounds are those beyond which nothing can be meant.
"""

import argparse
import math
import os
import re
from pathlib import Path

__all__ = [
    "device_name",
    "folder",
    "imaging_effect",
    "job_count",
    "named_pattern",
    "number",
    "open_probability",
    "patients",
    "place",
    "positive_int",
    "seed",
    "whole",
]

_LONGEST = 4000  # characters of a path


def whole(low, high):
    """The type of a whole number from `low` to `high`.

    Examples
    --------
    >>> whole(0, 10)("7")
    7
    >>> whole(1, 10)("0")
    Traceback (most recent call last):
        ...
    argparse.ArgumentTypeError: '0' is not a whole number from 1 to 10
    """

    def parse(text):
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()) and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(
            f"{_shown(text)} is not a whole number from {low} to {high:,}"
        )

    return parse


def number(low, high):
    """The type of a number from `low` to `high`.

    Examples
    --------
    >>> number(1, 8)("2.5")
    2.5
    """

    def parse(text):
        found = _finite(text)
        if found is None or not low <= found <= high:
            raise argparse.ArgumentTypeError(
                f"{_shown(text)} is not a number from {low:g} to {high:g}"
            )
        return found

    return parse


def positive_int(text):
    """The type of a count."""
    try:
        return whole(1, 1_000_000)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{_shown(text)} is not a positive number of at most a million"
        ) from None


patients = positive_int
seed = whole(0, 2**32 - 1)


def job_count(text):
    """The type of how many run at once: a count, or below 0 all cores but so many.

    Examples
    --------
    >>> job_count("-1")
    -1
    """
    try:
        found = whole(-1024, 1024)(text)
    except argparse.ArgumentTypeError:
        found = 0
    if found == 0:
        raise argparse.ArgumentTypeError(
            f"{_shown(text)} is not a number of jobs: 1, 2, ..., or -1 for every core"
        )
    return found


def device_name(text):
    """The type of where networks are trained; whether it is present is asked later."""
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:[0-9]{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{_shown(text)} is not auto, cpu, cuda or cuda:N")
    return text


def place(text):
    """The type of where something is written: a path that the system can have."""
    if not text.strip() or "\0" in text or len(text) > _LONGEST:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is not a path")
    path = Path(text)
    try:
        os.path.lexists(path)
        path.exists()
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is not a path ({error})") from error
    return path


def folder(text):
    """The type of a folder, which may be made later: text, as `memory=` takes it."""
    path = place(text).expanduser()
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{_shown(text)} is a file; name a folder")
    return text


def named_pattern(text):
    """The type of ``NAME=GLOB``.

    Examples
    --------
    >>> named_pattern("t1w=sub-*/anat/*_T1w.nii.gz")
    ('t1w', 'sub-*/anat/*_T1w.nii.gz')
    """
    from ..cohorts.folder import check_pattern
    from ..errors import CohortError

    name, _, pattern = text.partition("=")
    if not (name.strip() and pattern.strip()):
        raise argparse.ArgumentTypeError(f"{_shown(text)} is not NAME=GLOB")
    try:
        check_pattern(pattern, name)
    except CohortError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return name, pattern


def imaging_effect(text):
    """The type of how much the image counts in the simulated outcome, from 0."""
    value = _finite(text)
    if value is not None and value < 0:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is below 0")
    return number(0, 100)(text)


def open_probability(text):
    """The type of a number between 0 and 1, both excluded."""
    value = _finite(text)
    if value is None or not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is not between 0 and 1")
    return value


def _finite(text):
    """The number that a text is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _shown(text):
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
