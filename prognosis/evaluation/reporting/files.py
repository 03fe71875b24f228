"""Write result files whole or not at all."""

from pathlib import Path

from imaging.storage.files import replacing_all

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
    with replacing_all(folder) as temporary:
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8", newline="")
    return Path(folder)
