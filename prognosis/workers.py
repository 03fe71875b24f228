"""What all long runs share: whether they show progress, and how worker processes may grow."""

import multiprocessing
import sys

__all__ = ["let_worker_grow", "shows_progress"]


def shows_progress(verbose):
    """Whether a bar of progress is shown on stderr.

    Parameters
    ----------
    verbose : int or None
        None: where stderr is a terminal somebody looks at, so neither in notebooks and tests nor
        in a log file; and not in worker processes.

    Returns
    -------
    bool

    Examples
    --------
    >>> shows_progress(1), shows_progress(0)
    (True, False)
    """
    if verbose is None:
        return bool(sys.stderr is not None and sys.stderr.isatty() and not _in_worker())
    return bool(verbose)


def let_worker_grow():
    """Let a worker process of joblib keep what it has loaded; elsewhere this does nothing.

    joblib's workers take their size after the first task as what they may need, and are ended, with
    a warning of a memory leak, when they have grown by 300 MB since. After a regression as the
    first task, PyTorch, a network's activations and images that are kept for the next fit look like
    that, and a new worker would have to load them again.
    """
    executor = sys.modules.get("joblib.externals.loky.process_executor")
    if executor is not None and _in_worker():
        # Without a measure of its size, a worker collects garbage every second instead.
        executor._USE_PSUTIL = False


def _in_worker():
    return multiprocessing.current_process().name.startswith("LokyProcess")
