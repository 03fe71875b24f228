"""Write result files whole or not at all.

Everything is first written beside its place under a temporary name; names change only when all of
it is on disk.
"""

import os
import tempfile
from pathlib import Path

__all__ = ["write_files"]


def write_files(folder, texts):
    """Write several text files into a folder, all or none.

    Parameters
    ----------
    folder : str or os.PathLike
        Made if it does not exist.
    texts : dict of str to str
        File name to content; written as UTF-8.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    OSError
        If the folder cannot be written to; files that were there before are untouched.

    Examples
    --------
    >>> import tempfile
    >>> folder = write_files(tempfile.mkdtemp(), {"note.txt": "done"})
    >>> [path.name for path in folder.iterdir()]
    ['note.txt']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    try:
        for name, text in texts.items():
            handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=folder)
            written[temporary] = folder / name
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            os.chmod(temporary, 0o644)
        for temporary, path in written.items():
            os.replace(temporary, path)
    finally:
        for temporary in written:
            Path(temporary).unlink(missing_ok=True)
    return folder
