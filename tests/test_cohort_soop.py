"""Stroke Outcome Optimization Project: overlay undone, table right, downloads all or nothing."""

import functools
import http.server
import os
import threading
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imaging import ImageError, read_picture
from prognosis import CohortError, DownloadError, load_soop
from prognosis.cohorts import soop as soop_module
from prognosis.cohorts.soop import fetch_soop, recover_picture


def _sections(mask):
    """The three cross-sections of a mask as they lie in a picture (left is left)."""
    sections = np.zeros((189, 503), bool)
    sections[:, :157] = mask[::-1, :, 68].T[::-1]
    sections[53:, 157:346] = mask[117].T[::-1]
    sections[53:, 346:] = mask[::-1, 94].T[::-1]
    return sections


def _painted(grey, mask):
    colours = np.repeat(grey[..., None].astype(float), 3, axis=-1)
    colours[mask] = colours[mask] * 0.5 + np.array([127.5, 0, 0])
    rendering = np.full((189, 189, 3), 90.0)
    return np.concatenate([colours, rendering], axis=1).astype(np.uint8)


def _write_study(folder):
    """Four patients in the public layout; the second has no outcome, the fourth no picture."""
    rng = np.random.default_rng(0)
    for name in ("NIfTI", "PNG", "Scripts"):
        (folder / name).mkdir(parents=True)
    for number in (1, 2, 3, 4):
        mask = np.zeros((157, 189, 136), np.uint8)
        mask[110:120, 90:100, 60:70] = number > 1
        image = nib.Nifti1Image(mask, np.diag([-1, 1, 1, 1]))
        nib.save(image, folder / f"NIfTI/bwsrsub-{number}_lesion.nii.gz")
        grey = rng.integers(0, 256, (189, 503), dtype=np.uint8)
        if number < 4:
            picture = Image.fromarray(_painted(grey, _sections(mask > 0)))
            picture.save(folder / f"PNG/rsub-{number}_lesion.nii.png")
    (folder / "Scripts/participants.tsv").write_text(
        "participant_id\tsex\tage\trace\tacuteischaemicstroke\tpriorstroke\tbmi\tnihss\t"
        "gs_rankin_6isdeath\n"
        "sub-1\tF\t89+\tw\t1.0\t0.0\t22.5\t14.0\t2.0\n"
        "sub-2\tM\t50.0\tb\t1.0\t0.0\t30.1\t3.0\tn/a\n"
        "sub-3\tM\t61.0\tn/a\t1.0\t1.0\tn/a\t0.0\t3.0\n"
        "sub-4\tF\t70.0\tw\t1.0\t0.0\t25.0\t1.0\t1.0\n"
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    _write_study(home / "soop")
    return home


@pytest.fixture
def soop(data_home):
    if not (data_home / "soop" / "Scripts" / "participants.tsv").is_file():
        pytest.skip(f"no soop in {data_home}")
    return data_home / "soop"


def test_overlay_is_undone():
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, (189, 503), dtype=np.uint8)
    mask = np.zeros(grey.shape, bool)
    mask[50:90, 40:200] = True
    recovered, found = recover_picture(_painted(grey, mask))
    assert recovered.dtype == np.uint8 and np.array_equal(found, mask)
    assert np.array_equal(recovered[~mask], grey[~mask])
    assert np.abs(recovered[mask].astype(int) - grey[mask]).max() <= 2


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((189, 400, 3), np.uint8), r"shape \(189, 400, 3\)"),
        (np.zeros((189, 503), np.uint8), r"shape \(189, 503\)"),
        (np.tile(np.uint8([10, 200, 10]), (189, 503, 1)), "otherwise than by a red overlay"),
        ("missing.png", "no file at 'missing.png'"),
    ],
)
def test_other_pictures_are_refused(picture, message):
    with pytest.raises(ImageError, match=message):
        recover_picture(picture)


@pytest.mark.data
def test_recovered_mask_equals_the_nifti_mask(soop):
    pictures = sorted((soop / "PNG").glob("*.png"))
    # Those in which a lesion pixel is nearly black, and every twelfth of the others.
    hard = [p for p in pictures if p.name.startswith(("rsub-1081_", "rsub-1301_"))]
    for picture in hard + pictures[::12]:
        mask = nib.load(soop / "NIfTI" / f"bws{picture.name.removesuffix('.nii.png')}.nii.gz")
        _, recovered = recover_picture(picture)
        assert np.array_equal(recovered, _sections(np.asarray(mask.dataobj) > 0)), picture.name


@pytest.mark.data
def test_recovered_picture_has_no_edge_where_the_overlay_was(soop):
    """Acute lesions are bright in FLAIR: brightness must not drop, as it does in the raw green."""
    from scipy.ndimage import binary_dilation, binary_erosion

    steps, painted_steps = [], []
    for picture in sorted((soop / "PNG").glob("*.png"))[::12]:
        grey, mask = recover_picture(picture)
        green = np.asarray(Image.open(picture).convert("RGB"))[:, :503, 1].astype(float)
        inside, outside = mask & ~binary_erosion(mask), binary_dilation(mask) & ~mask
        if inside.sum() > 100:
            steps.append(np.median(grey[inside]) / np.median(grey[outside]))
            painted_steps.append(np.median(green[inside]) / np.median(green[outside]))
    assert len(steps) > 20
    assert np.median(painted_steps) < 0.7
    assert 0.95 < np.median(steps) < 1.3


@pytest.mark.data
def test_real_cohort(soop, tmp_path):
    X, y = load_soop(soop, target="nihss", cache=tmp_path, n_jobs=2)
    assert X.shape == (708, 6) and "nihss" not in X
    assert (y.min(), y.max()) == (0, 35)
    X, y = load_soop(soop.parent, cache=tmp_path)
    assert X.columns.tolist() == ["lesion", "flair", "age", "sex", "prior_stroke", "bmi", "nihss"]
    assert X.shape == (464, 7) and y.sum() == 241
    assert X["age"].max() == 89 and X["bmi"].isna().sum() == 22
    assert X.loc["sub-100", "nihss"] == 14 and y["sub-100"] == 1
    assert read_picture(X["flair"].iloc[0]).shape == (189, 503)


def test_table(study, tmp_path):
    with pytest.warns(UserWarning, match="1 of 3 patients are left out .* missing: sub-4"):
        X, y = load_soop(study, cache=tmp_path)
    assert X.index.tolist() == ["sub-1", "sub-3"] and X.index.name == "patient"
    assert y.tolist() == [0, 1] and y.name == "poor_outcome" and y.index.equals(X.index)
    assert X["age"].tolist() == [89, 61] and X["prior_stroke"].tolist() == [0, 1]
    assert np.isnan(X.loc["sub-3", "bmi"]) and X["sex"].tolist() == ["F", "M"]
    about = X.attrs["cohort"]
    assert about["simulated"] is False and about["image_columns"] == ["lesion", "flair"]
    assert "Absher" in about["source"] and about["target"] == "poor_outcome"


@pytest.mark.filterwarnings("ignore:1 of")
def test_targets(study, tmp_path):
    assert load_soop(study, target="mrs", cache=tmp_path)[1].tolist() == [2, 3]
    X, y = load_soop(study, target="nihss", cache=tmp_path)
    assert y.tolist() == [14, 3, 0] and "nihss" not in X
    with pytest.raises(CohortError, match="target must be one of poor_outcome, mrs, nihss"):
        load_soop(study, target="aphasia")


@pytest.mark.filterwarnings("ignore:1 of")
def test_pictures_are_converted_once_and_again_when_either_file_changed(tmp_path):
    _write_study(tmp_path / "soop")
    cache = tmp_path / "cache"
    source = tmp_path / "soop/PNG/rsub-1_lesion.nii.png"
    flair = load_soop(tmp_path, cache=cache)[0].loc["sub-1", "flair"]
    first, inode = read_picture(flair), os.stat(flair).st_ino
    os.utime(source, (1_000_000_000, 1_000_000_000))
    load_soop(tmp_path, cache=cache)
    assert os.stat(flair).st_ino == inode  # the time alone is no change

    for damaged in (flair, cache / "sub-1_flair.json"):
        content = bytearray(Path(damaged).read_bytes())
        content[len(content) // 2] ^= 1
        Path(damaged).write_bytes(content)
        load_soop(tmp_path, cache=cache)
        assert np.array_equal(read_picture(flair), first)

    other = np.asarray(Image.open(source))[::-1]
    Image.fromarray(other).save(source)
    os.utime(source, (1_000_000_000, 1_000_000_000))  # as `cp -p` leaves it
    load_soop(tmp_path, cache=cache)
    expected = recover_picture(source)[0]
    assert np.array_equal(np.asarray(Image.open(flair)), expected)
    assert sorted(path.name for path in cache.glob("*.png")) == [
        "sub-1_flair.png",
        "sub-3_flair.png",
    ]


@pytest.mark.filterwarnings("ignore:1 of")
def test_broken_picture_names_the_patient(tmp_path):
    _write_study(tmp_path / "soop")
    (tmp_path / "soop/PNG/rsub-3_lesion.nii.png").write_bytes(b"no picture")
    with pytest.raises(CohortError, match=r"row 'sub-3', column 'flair': .* cannot be read"):
        load_soop(tmp_path, cache=tmp_path / "cache")


def test_absent_data_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(CohortError, match=r"load_soop\(download=True\).*PROGNOSIS_DATA"):
        load_soop(tmp_path)
    monkeypatch.setenv("PROGNOSIS_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(CohortError, match="elsewhere"):
        load_soop()


class _Server(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith("/cut/"):
            return super().do_GET()
        # Announces the whole archive, and closes the connection after half of it.
        content = (self.server.folder / self.path.removeprefix("/cut/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with zipfile.ZipFile(folder / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((study / "soop").rglob("*")):
            archive.write(file, f"Repository-abc123/{file.relative_to(study / 'soop')}")
        archive.writestr("Repository-abc123/Scripts/deep_learn.py", "not needed")
    whole = (folder / "whole.zip").read_bytes()
    (folder / "half.zip").write_bytes(whole[: len(whole) // 2])
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    (folder / "flipped.zip").write_bytes(bytes(broken))
    (folder / "page.zip").write_text("<html>please log in</html>")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("Other-1/README.md", "another repository")
    handler = functools.partial(_Server, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.folder = folder
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore:1 of")
def test_download(address, study, tmp_path, monkeypatch):
    monkeypatch.setattr(soop_module, "ARCHIVE_URL", f"{address}/whole.zip")
    home = tmp_path / "new" / "home"
    X, _ = load_soop(home, download=True, cache=tmp_path / "cache")
    expected, _ = load_soop(study, cache=tmp_path / "cache")
    tabular = ["age", "sex", "prior_stroke", "bmi", "nihss"]
    pd.testing.assert_frame_equal(X[tabular], expected[tabular])
    assert not (home / "soop/Scripts/deep_learn.py").exists()
    assert [path.name for path in home.iterdir()] == ["soop"]


@pytest.mark.parametrize(
    "name", ["half.zip", "cut/whole.zip", "flipped.zip", "page.zip", "other.zip", "absent.zip"]
)
def test_failed_downloads_leave_nothing(address, tmp_path, name):
    with pytest.raises(DownloadError, match="nothing was kept"):
        fetch_soop(tmp_path / "soop", url=f"{address}/{name}")
    assert list(tmp_path.iterdir()) == []


def test_unreachable_server(tmp_path):
    with pytest.raises(DownloadError, match="could not be fetched whole"):
        fetch_soop(tmp_path / "soop", url="http://127.0.0.1:9/archive.zip")
    assert list(tmp_path.iterdir()) == []


def test_download_never_touches_a_folder_with_other_files(address, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DownloadError, match="exists but holds no Scripts"):
        fetch_soop(tmp_path, url=f"{address}/whole.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
