"""A fit begins with nothing and ends with everything: what estimators learn is never half there."""

from contextlib import contextmanager

__all__ = ["refitting"]


@contextmanager
def refitting(estimator):
    """Forget what an earlier fit learnt, and whatever a fit that fails has learnt so far.

    Interrupts count as failures.

    Parameters
    ----------
    estimator : object
        What it learns is in attributes whose names end in an underscore.

    Examples
    --------
    >>> class Mean:
    ...     def fit(self, values):
    ...         with refitting(self):
    ...             self.count_ = len(values)
    ...             self.mean_ = sum(values) / self.count_
    >>> mean = Mean()
    >>> mean.fit([1, 3])
    >>> mean.fit([])
    Traceback (most recent call last):
        ...
    ZeroDivisionError: division by zero
    >>> vars(mean)
    {}
    """
    _forget(estimator)
    try:
        yield
    except BaseException:
        _forget(estimator)
        raise


def _forget(estimator):
    for name in [name for name in vars(estimator) if name.endswith("_") and name[0] != "_"]:
        delattr(estimator, name)
