"""What follows from calling a patient positive at a probability: sensitivity and specificity.

The threshold has to be settled before anybody looks: the best of many is too good.
"""

import numpy as np

from .intervals import Interval, wilson_interval

__all__ = ["THRESHOLD_SCORES", "at_threshold", "called_rightly"]

THRESHOLD_SCORES = ("sensitivity", "specificity")


def at_threshold(patients, classes, threshold, *, confidence=0.95):
    """Sensitivity and specificity with Wilson's intervals, of two classes.

    Parameters
    ----------
    patients : DataFrame
        One row per patient with ``y`` and ``probability`` of the positive class, from
        `patient_table` or of one fold.
    classes : list
        Two, the positive one last.
    threshold : float
        Patients whose probability is at least this are called positive.
    confidence : float, default=0.95

    Returns
    -------
    dict of str to Interval
        ``sensitivity``: of the patients with the outcome, the share called positive;
        ``specificity``: of those without, the share that is not. NaN for models without
        probabilities, and where a class is absent.

    References
    ----------
    Wilson 1927, Journal of the American Statistical Association 22:209-212.

    Examples
    --------
    >>> import pandas as pd
    >>> patients = pd.DataFrame({"y": [1, 1, 1, 0, 0], "probability": [0.9, 0.6, 0.2, 0.3, 0.1]})
    >>> found = at_threshold(patients, [0, 1], 0.3)
    >>> [round(one.estimate, 3) for one in found.values()]
    [0.667, 0.5]
    """
    found = {}
    for name, right in called_rightly(patients, classes, threshold).items():
        known = right[~np.isnan(right)]
        if known.size:
            found[name] = wilson_interval(known.sum(), known.size, confidence=confidence)
        else:
            found[name] = Interval(np.nan, np.nan, np.nan)
    return found


def called_rightly(patients, classes, threshold):
    """Per patient whether the call was right (1 or 0), by score; NaN where it does not count.

    Parameters and errors are those of `at_threshold`.

    Returns
    -------
    dict of str to ndarray of shape (n_patients,)
    """
    probability = patients["probability"].to_numpy(dtype=float)
    positive = (patients["y"] == classes[1]).to_numpy()
    called = probability >= threshold
    known = ~np.isnan(probability)
    right = (called == positive).astype(float)
    return {
        "sensitivity": np.where(positive & known, right, np.nan),
        "specificity": np.where(~positive & known, right, np.nan),
    }
