"""One wording for what cannot be used: whatever a library raises about a file becomes ours.

Libraries raise what they like about a broken file: header errors, decoding errors, arithmetic.
"""

import contextlib
import os
from pathlib import Path

from ..errors import ImageError, ImagingError

__all__ = ["existing_file", "first_line", "named", "translated"]


def first_line(error):
    """What an error says, in one line.

    Examples
    --------
    >>> first_line(ValueError("short\\nlong")), first_line(ValueError())
    ('short', 'ValueError')
    """
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def named(image):
    """How an image is called in messages: its path in quotes, or "the image"."""
    if isinstance(image, (str, os.PathLike)):
        return repr(str(image))
    filename = image.get_filename() if hasattr(image, "get_filename") else None
    return repr(str(filename)) if filename else "the image"


@contextlib.contextmanager
def translated(found, remedy):
    """Whatever a library raises about an input becomes an `ImageError`; ours pass as they are.

    Parameters
    ----------
    found : str
        The input and what could not be done: "'a.nii' cannot be read as an image".
    remedy : str

    Raises
    ------
    ImageError

    Examples
    --------
    >>> with translated("'a.png' cannot be read as a picture", "copy it again"):
    ...     raise SyntaxError("broken PNG file")
    Traceback (most recent call last):
        ...
    imaging.errors.ImageError: 'a.png' cannot be read as a picture (broken PNG file); copy it again
    """
    try:
        yield
    except ImagingError:
        raise
    except MemoryError as error:
        raise ImageError(
            f"{found} (it needs more memory than there is); give a smaller image"
        ) from error
    except Exception as error:  # of a library, about a file: whatever it is, the file is not usable
        raise ImageError(f"{found} ({first_line(error)}); {remedy}") from error


def existing_file(path):
    """The path of a file that is there.

    Raises
    ------
    ImageError
        If there is none, it is a folder, or the system cannot have such a path.
    """
    shown = str(path) if len(str(path)) < 300 else f"{str(path)[:300]}..."
    try:
        file = Path(path).expanduser()
        is_folder, is_file = file.is_dir(), file.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageError(
            f"{shown!r} is no path of a file ({first_line(error)}); correct it"
        ) from error
    if is_folder:
        raise ImageError(f"{str(file)!r} is a folder; give the image in it")
    if not is_file:
        raise ImageError(f"no file at {str(file)!r}; correct the path or drop the row")
    return file
