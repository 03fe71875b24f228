"""The command line: ``prognosis check``, ``compare``, ``search``, ``fit``, ``predict`` and others.

Each command is a module of `prognosis.commands`; here is only which there are, and the exit code
that says what went wrong. Progress goes to stderr, results to stdout.
"""

import argparse
import sys

from imaging.errors import ImagingError

from . import __version__
from .commands import cache, check, compare, explain, fit, predict, prepare, search, segment
from .commands.common import (
    BAD_DATA,
    EXIT_CODES,
    INTERRUPTED,
    MODEL_FAILED,
    NOT_WRITTEN,
    USAGE,
    NotWrittenError,
    UsageError,
    tell,
)
from .errors import ModelError, PrognosisError

__all__ = ["main"]


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments without the program's name; None takes them from the command line.

    Returns
    -------
    int
        Exit code: 0 done, 2 wrong command, 3 unusable data, 4 a model failed, 5 nothing could be
        written, 130 interrupted.

    Examples
    --------
    >>> main(["--version"])
    prognosis 0.1.0
    0
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code
    try:
        return options.run(options)
    except UsageError as error:
        return _fail(USAGE, error)
    except NotWrittenError as error:
        return _fail(NOT_WRITTEN, error)
    except ModelError as error:
        return _fail(MODEL_FAILED, error)
    except (PrognosisError, ImagingError) as error:
        return _fail(BAD_DATA, error)
    except OSError as error:
        where = f": {error.filename!r}" if error.filename else ""
        return _fail(NOT_WRITTEN, f"a file cannot be read or written ({error.strerror}{where})")
    except MemoryError:
        return _fail(BAD_DATA, "there is too little memory; give smaller images, or --n-jobs 1")
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, options.interrupted)


def _fail(code, message):
    tell(message)
    return code


def _parser():
    parser = argparse.ArgumentParser(
        prog="prognosis",
        description="Prognosis from brain MRI and tabular data, compared honestly.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"prognosis {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (prepare, check, compare, search, fit, predict, explain, segment, cache):
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
