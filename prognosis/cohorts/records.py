"""Files that were made once, each with a record of what it held.

A file that is missing, damaged, or made from something else is made again; nothing is believed for
its name or its time.
"""

import json
from pathlib import Path

from imaging.storage.contents import file_content
from imaging.storage.files import replacing
from imaging.storage.hashing import combined

__all__ = ["read_record", "write_record"]


def read_record(record, files, made_from):
    """What was noted when files were made, if they still are what they were.

    Parameters
    ----------
    record : str or os.PathLike
    files : sequence of str or os.PathLike
    made_from : sequence of str
        What decides the content of the files, for example hashes of a source and of code.

    Returns
    -------
    dict or None
        The values given to `write_record`; None if the files have to be made (again).
    """
    try:
        found = json.loads(Path(record).read_text(encoding="utf-8"))
        checksum = found.pop("checksum")
        whole = checksum == _checksum(found) and found["made_from"] == list(made_from)
        return found["values"] if whole and found["files"] == _contents(files) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def write_record(record, files, made_from, values=None):
    """Note what files hold, after they were written; parameters as `read_record`.

    Parameters
    ----------
    values : dict, default=None
        Anything else that belongs to them, JSON-ready.
    """
    about = {"made_from": list(made_from), "files": _contents(files), "values": values or {}}
    with replacing(record) as temporary:
        text = json.dumps({**about, "checksum": _checksum(about)})
        temporary.write_text(text, encoding="utf-8")


def _contents(files):
    return {Path(file).name: file_content(file) for file in files}


def _checksum(about):
    return combined(json.dumps(about, sort_keys=True)).hex()
