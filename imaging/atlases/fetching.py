"""Fetching the templates that Debian packages with MRIcron, without Debian.

The package is an archive of archives; its checksum is that of Debian's index, so whatever server it
comes from, it is that package or nothing.
"""

import io
import shutil
import tarfile
import tempfile
from pathlib import Path

from ..storage.files import replacing

__all__ = ["DEBIAN_SHA256", "DEBIAN_URLS", "fetch_templates"]

_PACKAGE = "mricron-data_1.2.20211006+dfsg-4_all.deb"
DEBIAN_SHA256 = "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f"
# The mirror holds it as long as a release does; the archive, which names files by SHA-1, for ever.
DEBIAN_URLS = (
    f"http://deb.debian.org/debian/pool/main/m/mricron/{_PACKAGE}",
    "https://snapshot.debian.org/file/2a68e52ce5e881c7a3d9c1f7b50897a32e281426",
)
_TIMEOUT_S = 60
_AR_MAGIC = b"!<arch>\n"


def fetch_templates(folder, names, *, urls=DEBIAN_URLS, sha256=DEBIAN_SHA256):
    """Download the package (16 MB), keep some of its templates.

    Parameters
    ----------
    folder : str, os.PathLike
        Made if need be; files that are there stay.
    names : iterable of str
        Files of ``/usr/share/mricron/templates``.
    urls : sequence of str
        Servers, tried in this order.
    sha256 : str
        What the package has to have, hexadecimal.

    Returns
    -------
    pathlib.Path
        `folder`.

    Raises
    ------
    OSError
        If no server gives the package whole, or it holds no such file; nothing is kept then.
    """
    import pooch

    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    with tempfile.TemporaryDirectory() as temporary:
        for url in urls:
            try:
                package = pooch.retrieve(
                    url,
                    known_hash=f"sha256:{sha256}",
                    fname="package.deb",
                    path=temporary,
                    downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_S),
                )
                break
            except (OSError, ValueError) as error:  # no connection; another checksum
                failures.append(f"{url}: {' '.join(str(error).split())}")
        else:
            raise OSError("; ".join(failures))
        _unpack(Path(package), folder, set(names))
    return folder


def _unpack(package, folder, wanted):
    """Copy templates out of a Debian package: an ar archive that holds the files as a tar one."""
    with tarfile.open(fileobj=io.BytesIO(_data_member(package))) as archive:
        for member in archive:
            name = Path(member.name)
            if member.isfile() and name.parent.name == "templates" and name.name in wanted:
                with replacing(folder / name.name) as temporary, open(temporary, "wb") as file:
                    shutil.copyfileobj(archive.extractfile(member), file)
                wanted = wanted - {name.name}
    if wanted:
        raise OSError(f"the package holds no {', '.join(sorted(wanted))}")


def _data_member(package):
    content = package.read_bytes()
    if not content.startswith(_AR_MAGIC):
        raise OSError("what was fetched is no Debian package")
    place = len(_AR_MAGIC)
    while place + 60 <= len(content):
        name = content[place : place + 16].decode("ascii", "replace").strip().rstrip("/")
        size = int(content[place + 48 : place + 58])
        place += 60
        if name.startswith("data.tar"):
            return content[place : place + size]
        place += size + size % 2
    raise OSError("the package holds no files")
