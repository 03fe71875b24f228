"""``prognosis cache``: what a cache folder holds, how large it may grow, and clearing it."""

import argparse
import datetime

from .common import OK, NotWrittenError, UsageError, add_command

__all__ = ["add", "run"]

DESCRIPTION = (
    "Show what a cache folder holds: prepared images, values computed from images, and finished "
    "fits of compare(resume=). With a limit, whatever writes there later makes room: what was not "
    "used for longest leaves first, but for finished fits and what a running fit reads. Only "
    "entries of this package are counted and removed; other files stay."
)
INTERRUPTED = "interrupted; what was removed is gone, the rest is whole"
CLEAR = {
    "all": ("prepared images", "computed values", "finished fits"),
    "images": ("prepared images",),
    "values": ("computed values",),
    "fits": ("finished fits",),
}


def add(commands):
    """Register the command with its options."""
    parser = add_command(
        commands,
        "cache",
        run,
        help="see, limit and clear the cache of prepared images and finished fits",
        description=DESCRIPTION,
        interrupted=INTERRUPTED,
    )
    add = parser.add_argument
    add(
        "folder",
        nargs="?",
        metavar="FOLDER",
        help="as given to --memory, memory= or resume= (default: the user's cache folder)",
    )
    add(
        "--limit",
        type=size,
        metavar="SIZE",
        help="let the folder grow so far, such as 20GB, and make room now; none: without limit",
    )
    add(
        "--clear",
        nargs="?",
        const="all",
        choices=list(CLEAR),
        help="remove entries of all kinds, or of one; what a running fit reads stays",
    )


def run(options):
    """Carry out the command: limit, clear, and the table on stdout."""
    from imaging.storage.upkeep.cache_folder import CacheFolder
    from imaging.storage.upkeep.limits import as_text

    folder, lines = options.folder, []
    if folder is None:
        import platformdirs

        folder = platformdirs.user_cache_path("prognosis-mri")
    try:
        cache = CacheFolder(folder)
        limit = cache.limit
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error
    try:
        if options.clear is not None:
            removed, kept = cache.clear(CLEAR[options.clear])
            lines.append(f"{removed} removed" + f", {kept} in use stay" * bool(kept))
        if options.limit is not None:
            removed = cache.set_limit(None if options.limit == "none" else options.limit)
            lines.append(f"{removed} removed to keep the limit")
    except OSError as error:
        raise NotWrittenError(f"{str(folder)!r} cannot be written to: {error}") from error
    limit, found = cache.limit, cache.look()
    others = found.pop("other files")
    lines += [str(cache.folder), f"{'':15} {'entries':>9} {'size':>9}  last used"]
    for kind, row in found.items():
        lines.append(
            f"{kind:15} {row['entries']:>9} {as_text(row['bytes']):>9}  {_date(row['last_used'])}"
        )
    total = sum(row["bytes"] for row in found.values())
    lines.append(f"{'in all':25} {as_text(total):>9}  limit: {as_text(limit) if limit else 'none'}")
    lines.append(f"{'other files':15} {others['entries']:>9} {as_text(others['bytes']):>9}")
    print("\n".join(lines))
    return OK


def size(text):
    """The type of a limit: a size, or ``none``."""
    from imaging.storage.upkeep.limits import as_bytes

    if text == "none":
        return text
    try:
        return as_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _date(seconds):
    if seconds is None:
        return ""
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
