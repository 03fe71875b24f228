"""Atlases of white matter: found, fetched and checked; and do the names fit the places?"""

import hashlib
import http.server
import io
import tarfile
import threading

import nibabel as nib
import numpy as np
import pytest

from imaging import AtlasError, load_atlas
from imaging.atlases import fetching, white_matter
from imaging.atlases.fetching import fetch_templates
from imaging.atlases.white_matter import TABLES, WHITE_MATTER, load_white_matter

TEMPLATES = {"natbrainlab.nii.gz": b"tracts", "jhu189.nii.gz": b"regions", "ch2.nii.gz": b"T1"}


def debian_package(files):
    """The bytes of a Debian package that holds some templates."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./usr/share/mricron/templates/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    parts, package = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd")], b"!<arch>\n"
    for name, content in [*parts, ("data.tar.xz", tar.getvalue())]:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        package += header.encode() + content + b"\n" * (len(content) % 2)
    return package


@pytest.fixture
def server(tmp_path):
    """A server of one folder; its address and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}", folder
    serving.shutdown()
    serving.server_close()


def test_templates_are_fetched_and_unpacked(server, tmp_path):
    address, served = server
    content = debian_package(TEMPLATES)
    (served / "good.deb").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    urls = [f"{address}/gone.deb", f"{address}/good.deb"]
    wanted = ["natbrainlab.nii.gz", "jhu189.nii.gz"]
    folder = fetch_templates(tmp_path / "cache", wanted, urls=urls, sha256=sha256)
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == {
        name: TEMPLATES[name] for name in wanted
    }
    with pytest.raises(OSError, match=r"holds no other\.nii"):
        fetch_templates(tmp_path / "cache", ["other.nii"], urls=urls, sha256=sha256)


def test_what_is_cut_or_changed_is_not_kept(server, tmp_path):
    address, served = server
    content = debian_package(TEMPLATES)
    (served / "cut.deb").write_bytes(content[:-100])
    with pytest.raises(OSError, match=r"cut\.deb: .*hash"):
        fetch_templates(
            tmp_path / "cache",
            TEMPLATES,
            urls=[f"{address}/cut.deb"],
            sha256=hashlib.sha256(content).hexdigest(),
        )
    assert not list((tmp_path / "cache").iterdir())
    (served / "page.deb").write_bytes(b"<html>")
    with pytest.raises(OSError, match="no Debian package"):
        fetch_templates(
            tmp_path / "cache",
            TEMPLATES,
            urls=[f"{address}/page.deb"],
            sha256=hashlib.sha256(b"<html>").hexdigest(),
        )


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No atlas on this computer, and no server."""
    monkeypatch.setenv("PROGNOSIS_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(white_matter, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(white_matter, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(white_matter, "DEBIAN_URLS", ["http://127.0.0.1:1/none.deb"])
    return tmp_path


def test_what_is_nowhere_says_what_to_do(nowhere):
    with pytest.raises(AtlasError, match=r"could not be fetched .*apt-get install mricron-data"):
        load_white_matter("natbrainlab")
    with pytest.raises(AtlasError, match=r"NiiStat is looked for in .*use 'jhu189'"):
        load_white_matter("jhu")
    with pytest.raises(AtlasError, match="did you mean 'natbrainlab'"):
        load_atlas("natbrain")


@pytest.mark.parametrize("place", ["data/atlases", "debian", "cache"])
def test_places_and_labels(nowhere, monkeypatch, place):
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1], labels[2] = 1, 101
    (nowhere / place).mkdir(parents=True)
    image = nib.Nifti1Image(labels, np.eye(4))
    nib.save(image, nowhere / place / "natbrainlab.nii.gz")
    with pytest.raises(AtlasError, match="other labels than the atlas 'natbrainlab'"):
        load_white_matter("natbrainlab")
    known = white_matter._Known(
        "natbrainlab.nii.gz",
        hashlib.sha256(labels.tobytes(order="F")).hexdigest(),
        "natbrainlab.csv",
    )
    monkeypatch.setitem(WHITE_MATTER, "natbrainlab", known)
    atlas = load_white_matter("natbrainlab")
    assert atlas.names[1] == "Anterior_Commissure_L" and len(atlas.regions) == 32


def test_fetched_into_the_cache(nowhere, server, monkeypatch):
    address, served = server
    labels = np.full((3, 3, 3), 8, np.uint8)
    content = nib.Nifti1Image(labels, np.eye(4)).to_bytes()
    monkeypatch.setitem(
        WHITE_MATTER,
        "natbrainlab",
        white_matter._Known(
            "natbrainlab.nii", hashlib.sha256(labels.tobytes()).hexdigest(), "natbrainlab.csv"
        ),
    )
    files = {one.file: content for one in WHITE_MATTER.values() if one.packaged}
    package = debian_package(files)
    (served / "good.deb").write_bytes(package)
    monkeypatch.setattr(white_matter, "DEBIAN_URLS", [f"{address}/good.deb"])
    monkeypatch.setitem(
        fetch_templates.__kwdefaults__, "sha256", hashlib.sha256(package).hexdigest()
    )
    assert load_white_matter("natbrainlab").names[8] == "Corticospinal_L"
    served.joinpath("good.deb").unlink()
    assert load_white_matter("natbrainlab").names[8] == "Corticospinal_L"
    assert fetching.DEBIAN_URLS[0].startswith("http://deb.debian.org/")


# ------------------------------------------------------------------ the real images
# Region of "jhu" that most of a tract's kind has to lie in, and the least share of that region.
MEETS = {
    "Anterior_Commissure": ("OlfactoryRadiation", 0.9),
    "Arcuate_Anterior": ("SLF", 0.1),
    "Arcuate_Long": ("SLF", 0.02),
    "Arcuate_Posterior": ("AG", 0.08),
    "Cingulum": ("CGC", 0.9),
    "Corpus_Callosum": ("SCC", 0.7),
    "Corticospinal": ("PLIC", 0.6),
    "Fornix": ("Fx", 0.4),
    "Inferior_Cerebellar_Peduncle": ("ICP", 0.4),
    "Inferior_Longitudinal": ("SS", 0.4),
    "Inferior_Fronto_Occipital": ("EC", 0.15),
    "Internal_Capsule": ("CP", 0.6),
    "Optic_Radiations": ("RLIC", 0.3),
    "Superior_Cerebellar_Peduncle": ("SCP", 0.6),
    "Uncinate": ("UNC", 0.7),
}


def _load(name, data_home, monkeypatch):
    path = data_home / "atlases" / WHITE_MATTER[name].file
    if not path.is_file():
        pytest.skip(f"no {path}")
    monkeypatch.setenv("PROGNOSIS_DATA", str(data_home))
    return load_atlas(name)


def _centre(atlas, region):
    mask = atlas.region_mask(region)
    return nib.affines.apply_affine(mask.affine, np.argwhere(mask.get_fdata() > 0)).mean(axis=0)


def _shares(atlas, other, tract):
    """Share of every region of another atlas that lies in a tract."""
    inside = atlas.region_mask(tract).get_fdata() > 0
    labels = other.labels_on(atlas.image)
    count = len(other.regions) + 1
    sizes, hits = (
        np.bincount(part, minlength=count)[1:] for part in (labels.ravel(), labels[inside])
    )
    return dict(zip(other.regions, hits / np.maximum(sizes, 1)))


@pytest.mark.data
@pytest.mark.parametrize(
    "name_of_atlas, count", [("natbrainlab", 32), ("jhu", 189), ("jhu-white-matter", 48)]
)
def test_sides_are_where_names_say(name_of_atlas, count, data_home, monkeypatch):
    atlas = _load(name_of_atlas, data_home, monkeypatch)
    assert len(set(atlas.regions)) == count
    pairs = [name[:-1] for name in atlas.regions if name.endswith("_L") and "Ponto" not in name]
    assert len(pairs) > 10
    wrong = [
        name
        for name in pairs
        if not _centre(atlas, name + "L")[0] < _centre(atlas, name + "R")[0] - 2
    ]
    # In the file of this atlas the mammillary bodies, beside the midline, have each other's names.
    assert wrong == (["Mammillary_"] if name_of_atlas == "jhu" else [])


@pytest.mark.data
@pytest.mark.parametrize("tract", MEETS)
def test_tracts_meet_the_regions_of_their_kind(tract, data_home, monkeypatch):
    atlas = _load("natbrainlab", data_home, monkeypatch)
    regions = _load("jhu", data_home, monkeypatch)
    kind, least = MEETS[tract]
    for side in "LR":
        shares = _shares(atlas, regions, f"{tract}_{side}")
        assert shares[f"{kind}_{side}"] > least
        assert shares[f"{kind}_{side}"] > 5 * shares[f"{kind}_{'LR'.replace(side, '')}"]


@pytest.mark.data
def test_tracts_lie_where_anatomy_has_them(data_home, monkeypatch):
    atlas = _load("natbrainlab", data_home, monkeypatch)
    for side, other in ("LR", "RL"):
        y = {
            part: _centre(atlas, f"Arcuate_{part}_{side}")[1]
            for part in ("Anterior", "Long", "Posterior")
        }
        assert y["Posterior"] < min(y["Anterior"], y["Long"]) - 20
        # The posterior segment goes down into the temporal lobe, the anterior one does not.
        down = (
            atlas.region_mask(f"Arcuate_Posterior_{side}"),
            atlas.region_mask(f"Arcuate_Anterior_{side}"),
        )
        lowest = [np.argwhere(one.get_fdata() > 0)[:, 2].min() - 50 for one in down]
        assert lowest[0] < 0 < lowest[1]
        # Fibres of one hemisphere cross in the pons: most of them lie in the other peduncle.
        shares = _shares(
            atlas, _load("jhu", data_home, monkeypatch), f"Cortico_Ponto_Cerebellar_{side}"
        )
        assert shares[f"MCP_{other}"] > 0.3 > 0.1 > shares[f"MCP_{side}"]
        assert _centre(atlas, f"Uncinate_{side}")[1] > 5
        assert _centre(atlas, f"Optic_Radiations_{side}")[1] < -30
    # The long segment is left-lateralised, the anterior one right-lateralised: left is left.
    sizes = {
        name: np.count_nonzero(atlas.region_mask(name).dataobj)
        for name in atlas.regions
        if name.startswith("Arcuate")
    }
    assert sizes["Arcuate_Long_L"] > 3 * sizes["Arcuate_Long_R"]
    assert sizes["Arcuate_Anterior_R"] > 1.5 * sizes["Arcuate_Anterior_L"]


@pytest.mark.data
def test_the_mirrored_affine_is_put_right(data_home, monkeypatch):
    """The corrected tracts meet the same regions of "jhu" better than their mirror images do."""
    tracts = _load("jhu-white-matter", data_home, monkeypatch)
    regions = _load("jhu", data_home, monkeypatch)
    pairs = {
        "Corticospinal_tract": "CST",
        "Medial_lemniscus": "ML",
        "Inferior_cerebellar_peduncle": "ICP",
        "Anterior_limb_of_internal_capsule": "ALIC",
        "External_capsule": "EC",
        "Uncinate_fasciculus": "UNC",
        "Cingulum_gyrus": "CGC",
    }

    def agreement(image):
        dices = []
        labels = np.asanyarray(image.dataobj)
        from imaging import dice, to_grid

        on_grid = to_grid(
            nib.Nifti1Image(labels, image.affine), regions.image, interpolation="nearest"
        )
        for name, short in pairs.items():
            for side in "LR":
                (label,) = tracts.labels_of(f"{name}_{side}")
                dices.append(
                    dice(
                        on_grid.get_fdata() == label,
                        regions.region_mask(f"{short}_{side}").get_fdata(),
                    )
                )
        return np.mean(dices)

    labels = np.asanyarray(tracts.image.dataobj)
    # Mirrored in space, each label exchanged for that of the other side.
    exchange = np.arange(49)
    for name, label in ((name, label) for label, name in tracts.names.items()):
        if name.endswith(("_L", "_R")):
            other = name[:-1] + ("R" if name.endswith("L") else "L")
            exchange[label] = tracts.labels_of(other)[0]
    mirrored = nib.Nifti1Image(
        exchange[labels].astype(np.uint8), np.diag([-1, 1, 1, 1]) @ tracts.image.affine
    )
    assert agreement(tracts.image) > agreement(mirrored) + 0.03


@pytest.mark.parametrize("table", sorted({known.table for known in WHITE_MATTER.values()}))
def test_every_name_occurs_once(table):
    from imaging.atlases.tables import read_table

    names = read_table(TABLES / table)
    assert len(set(names.values())) == len(names) and min(names) == 1
