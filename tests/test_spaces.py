"""Whether an image lies in template space: what is refused, what is warned of, what is let through.

Real scans are looked for in the folder of PROGNOSIS_DATA; without it their tests are skipped.
"""

import os
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from imaging import (
    Atlas,
    ImageError,
    SpaceVerdict,
    check_space,
    cube_shares,
    load_atlas,
    read_mask,
    region_load,
)
from imaging.spaces.checking import covers_brain, holds_template
from imaging.spaces.template import template
from prognosis import (
    BrainAgeGap,
    CohortError,
    LesionCount,
    LesionKernel,
    LesionSize,
    RegionLoad,
    RoiSymbols,
    StitchedSlices,
    Volumes,
    make_stroke_cohort,
    place_model,
)

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "datasets"
DATA = Path(os.environ.get("PROGNOSIS_DATA") or BESIDE).expanduser()
TURNED = Rotation.from_euler("xyz", [9, 2, 4], degrees=True).as_matrix()
NATIVE = [  # each in its own space
    "scans/T1w2mm.nii.gz",
    "scans/T2w.nii.gz",
    "arc/sub-M2265_T2w.nii.gz",
    "lgg/sub-DU7299_FLAIR.nii.gz",
    "lgg/sub-CS6186_FLAIR.nii.gz",
    "label_maps/training_seg_08.nii.gz",
]


def moved(image, by_mm=(0, 0, 0), turn=None):
    """An image with the same voxels elsewhere."""
    turn = np.eye(3) if turn is None else turn
    affine = nib.affines.from_matvec(turn, by_mm) @ image.affine
    return nib.Nifti1Image(np.asanyarray(image.dataobj), affine)


@pytest.fixture(scope="module")
def X():
    table, _ = make_stroke_cohort(4, spacing_mm=8, random_state=0)
    return table


@pytest.fixture(scope="module")
def scan(X):
    return X["t1w"].iloc[0]


@pytest.fixture(scope="module")
def mask(X):
    """Of the largest lesion."""
    return max(X["lesion"], key=lambda image: image.get_fdata().sum())


def test_the_template_is_the_one_inside_nilearn():
    from nilearn.datasets import load_mni152_brain_mask

    stored = load_mni152_brain_mask(resolution=2)
    points = nib.affines.apply_affine(stored.affine, np.argwhere(np.ones(stored.shape)))
    found = template().distance_at(points) == 0
    np.testing.assert_array_equal(found, stored.get_fdata().ravel() > 0)


@pytest.mark.parametrize("spacing_mm", [8, 4])
def test_no_alarm_in_simulated_heads(spacing_mm):
    table, _ = make_stroke_cohort(3, spacing_mm=spacing_mm, random_state=1)
    for image in (*table["t1w"], *table["lesion"]):
        assert check_space(image).ok


def test_a_small_lesion_at_the_rim_is_no_alarm_but_a_larger_or_a_farther_one_is():
    """People's brains differ by some millimetres from the template's."""

    def at(places):
        data = np.zeros((40, 48, 40), np.uint8)
        data[tuple(np.transpose(places))] = 1
        return nib.Nifti1Image(data, nib.affines.from_matvec(np.diag([4.0] * 3), (-80, -110, -70)))

    places = np.argwhere(np.ones((40, 48, 40)))
    away = template().distance_at(nib.affines.apply_affine(at([]).affine, places))
    inside, rim = places[away == 0], places[(away > 7.2) & (away < 11)]
    assert check_space(at([*inside[:6], *rim[:2]]), kind="mask").ok
    assert not check_space(at([*inside[:60], *rim[:20]]), kind="mask").ok
    far = places[(away > 15) & (away < 30)]
    assert not check_space(at([*inside[:6], *far[:2]]), kind="mask").ok


@pytest.mark.parametrize(
    "by_mm, words",
    [
        ((0, 30, 0), "to the front"),
        ((0, -30, 0), "to the back"),
        ((30, 0, 0), "to the right"),
        ((-30, 0, 0), "to the left"),
        ((0, 0, 30), "to the top"),
        ((0, 0, -30), "to the bottom"),
    ],
)
def test_a_head_that_was_moved(scan, by_mm, words):
    found = check_space(moved(scan, by_mm))
    assert found.verdict == "wrong" and words in found.reasons[0]
    here = np.array(check_space(scan).moved_mm)
    assert np.allclose(np.array(found.moved_mm) - here, by_mm, atol=4)


def test_the_shift_does_not_hang_on_contrast_grid_or_axes(scan):
    image = moved(scan, (0, 22, -9))
    expected = np.array(check_space(image).moved_mm)
    data = image.get_fdata()
    inverted = np.where(data > 0, data.max() + 50 - data, 0)
    for other in (
        nib.Nifti1Image(inverted, image.affine),
        image.as_reoriented(nib.orientations.axcodes2ornt("LSP")),
        nib.Nifti1Image(
            np.pad(data, 3), image.affine @ nib.affines.from_matvec(np.eye(3), [-3] * 3)
        ),
        nib.Nifti1Image(data - 500, image.affine),
    ):
        assert np.allclose(check_space(other).moved_mm, expected, atol=2.5)


def test_an_unlike_shift_is_doubtful_and_a_scanner_s_axes_make_it_wrong(scan):
    assert check_space(moved(scan, (0, 5, 0))).ok
    assert check_space(moved(scan, (0, 18, 0))).verdict == "doubtful"
    turned = check_space(moved(scan, (0, 14, 0), TURNED))
    assert turned.verdict == "wrong" and any("axes are tilted" in r for r in turned.reasons)


def test_fields_of_view_beside_the_brain(scan):
    assert "beside the template" in check_space(moved(scan, (0, 0, 400))).reasons[0]
    corner = nib.Nifti1Image(scan.get_fdata(), np.diag([8, 8, 8, 1]))
    found = check_space(corner)
    assert found.verdict == "wrong" and "in its field of view" in " ".join(found.reasons)


def test_black_and_noise():
    affine = nib.affines.from_matvec(4 * np.eye(3), [-90, -130, -74])
    data = np.zeros((46, 54, 46), np.float32)
    data[:3, :3, :3] = np.arange(27).reshape(3, 3, 3)
    assert check_space(nib.Nifti1Image(data, affine), kind="scan").reasons[0].startswith("it is b")
    noise = np.random.default_rng(0).random(data.shape).astype(np.float32)
    found = check_space(nib.Nifti1Image(noise, affine))
    assert found.verdict == "doubtful" and found.moved_mm is None


class TestMasks:
    def test_identity_affine(self, mask):
        lost = nib.Nifti1Image(mask.get_fdata(), np.eye(4))
        found = check_space(lost)
        assert found.kind == "mask" and found.verdict == "wrong" and "identity" in found.reasons[0]

    def test_a_field_of_view_beside_the_brain(self, mask):
        fine = np.zeros((157, 189, 136), np.uint8)
        fine[10:14, 20:24, 30:34] = 1
        affine = nib.affines.from_matvec(np.eye(3), [0.5, 0, 0])  # near the identity only
        found = check_space(nib.Nifti1Image(fine, affine))
        assert found.verdict == "wrong" and "field of view" in found.reasons[0]

    def test_a_lesion_outside_of_the_brain(self, mask):
        found = check_space(moved(mask, (0, 120, 60)))
        assert found.verdict == "wrong" and found.inside < 0.5

    def test_a_scanner_s_grid_is_doubtful(self, mask):
        assert "tilted" in check_space(moved(mask, turn=TURNED)).reasons[0]
        thick = nib.Nifti1Image(
            mask.get_fdata()[:, :, ::2], mask.affine @ np.diag([0.5, 0.5, 2, 1])
        )
        assert "slices of a scanner" in " ".join(check_space(thick).reasons)

    def test_sides_that_the_header_swaps(self, mask):
        image = nib.Nifti1Image(mask.get_fdata().astype(np.uint8), mask.affine)
        image.set_qform(mask.affine, code=1)
        image.set_sform(np.diag([-1, 1, 1, 1]) @ mask.affine, code=4)
        assert "swap left and right" in " ".join(check_space(image).reasons)

    def test_a_header_without_a_space(self, mask):
        image = nib.Nifti1Image(mask.get_fdata().astype(np.uint8), mask.affine)
        image.set_sform(mask.affine, code=0)
        image.set_qform(mask.affine, code=0)
        assert "names no space" in " ".join(check_space(image).reasons)

    def test_probabilities_are_a_mask_and_a_scan_from_0_to_1_is_a_scan(self, mask, scan):
        from scipy.ndimage import gaussian_filter

        soft = nib.Nifti1Image(gaussian_filter(mask.get_fdata(), 0.7), mask.affine)
        assert check_space(soft).kind == "mask" and check_space(soft).ok
        assert check_space(moved(soft, (0, 120, 60))).verdict == "wrong"
        data = scan.get_fdata()
        assert check_space(nib.Nifti1Image(data / data.max(), scan.affine)).kind == "scan"

    def test_what_is_right(self, mask):
        assert check_space(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))).ok  # empty
        filled = np.argwhere(mask.get_fdata())
        low, high = filled.min(0), filled.max(0) + 1
        cropped = mask.slicer[tuple(slice(a, b) for a, b in zip(low, high))]
        assert check_space(cropped).inside > 0.9
        for region in ("Cerebelum_8_L", "Calcarine_R", "Frontal_Sup_2_L", "Vermis_3"):
            assert check_space(load_atlas("aal").region_mask(region)).ok


def test_verdicts_survive_json(scan):
    import json

    found = check_space(moved(scan, (0, 30, 0)))
    assert SpaceVerdict.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_which_atlases_and_grids_are_of_template_space(scan):
    aal = load_atlas("aal")
    assert aal.in_template and covers_brain(aal.image) and covers_brain(scan)
    small = Atlas(nib.Nifti1Image(np.ones((4, 1, 1), np.int16), np.eye(4)), {1: "all"}, "small")
    assert not small.in_template and not covers_brain(small.image)
    assert not holds_template(moved(aal.image, (0, 90, 0)))
    # An atlas in a space of its own asks for no template.
    assert region_load(nib.Nifti1Image(np.ones((4, 1, 1), np.uint8), np.eye(4)), small) == {
        "all": 1
    }


class TestFeatures:
    @pytest.mark.parametrize("feature", [RegionLoad(), LesionKernel()])
    def test_wrong_masks_are_refused_by_patient(self, X, feature, mask):
        bad = X.copy()
        bad.at["sub-0002", "lesion"] = nib.Nifti1Image(mask.get_fdata(), np.eye(4))
        with pytest.raises(
            CohortError, match=r"row 'sub-0002', column 'lesion': this mask .*ident"
        ):
            feature.fit(X[:1]).transform(bad)

    def test_a_mask_far_from_the_atlas_is_refused_by_patient(self, X, mask):
        far = X.assign(lesion=[moved(mask, (900, 0, 0)), *X["lesion"][1:]])
        with pytest.raises(CohortError, match=r"row 'sub-0001', column 'lesion': .*100 %"):
            RegionLoad().fit_transform(far)

    def test_doubtful_masks_are_named_in_one_warning(self, X):
        turned = [moved(image, turn=TURNED) for image in X["lesion"][:2]]
        bad = X.assign(lesion=[*turned, *X["lesion"][2:]])
        with pytest.warns(UserWarning, match="2 of 4 images may not lie in template") as caught:
            RegionLoad(regions=["Insula_L"]).fit_transform(bad)
        assert len(caught) == 1 and "'sub-0001'" in str(caught[0].message)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            RegionLoad(regions=["Insula_L"], space="native").fit_transform(bad)
            RegionLoad(regions=["Insula_L"]).fit_transform(X)

    def test_the_verdict_is_kept_with_the_measurement(self, X, tmp_path, monkeypatch):
        from imaging.spaces import checking as module

        bad = X.assign(lesion=[moved(image, turn=TURNED) for image in X["lesion"]])
        feature = RegionLoad(regions=["Insula_L"], memory=str(tmp_path))
        with pytest.warns(UserWarning, match="4 of 4 images"):
            feature.fit_transform(bad)

        def check(*args, **kwargs):
            raise AssertionError("checked again")

        monkeypatch.setattr(module, "check_space", check)
        with pytest.warns(UserWarning, match="4 of 4 images"):
            feature.transform(bad)

    def test_single_masks(self, mask):
        lost = nib.Nifti1Image(mask.get_fdata(), np.eye(4))
        for function in (lambda m, **given: region_load(m, "aal", **given), cube_shares):
            with pytest.raises(ImageError, match=r"not in template .* identity"):
                function(lost)
            function(lost, space="native")

    def test_brain_age(self, X):
        gap = BrainAgeGap("t1w", lesion="lesion", random_state=0, cv=2, n_components=2).fit(X)
        bad = X.assign(t1w=[*X["t1w"][:3], moved(X["t1w"].iloc[3], (0, 0, 30))])
        with pytest.raises(CohortError, match="row 'sub-0004', column 't1w': this scan does not"):
            gap.transform(bad)
        bad = X.assign(lesion=[moved(X["lesion"].iloc[0], (0, 150, 0)), *X["lesion"][1:]])
        with pytest.raises(CohortError, match="row 'sub-0001', column 'lesion': this mask does no"):
            gap.transform(bad)

    def test_place_model_passes_it_on(self, X):
        model = place_model(tabular=["severity"], atlas="aal", labels=[1], space="native")
        assert model.named_steps["place"].get_params()["space"] == "native"
        assert model.named_steps["size"].labels == model.named_steps["place"].labels == [1]


class TestViews:
    @pytest.mark.parametrize(
        "view",
        [
            StitchedSlices(grid="mni152", mosaic_size=48),
            Volumes(grid="mni152", spacing_mm=16),
            RoiSymbols(regions=2, mosaic_size=48),
        ],
    )
    def test_what_reads_the_template_refuses(self, X, view):
        bad = X.assign(t1w=[moved(image, (0, 30, 0)) for image in X["t1w"]])
        with pytest.raises(
            CohortError, match=r"row 'sub-0001', column 't1w': .* 3 more: 'sub-0002'"
        ):
            view.fit_prepare(bad, ["t1w"])
        view.set_params(space="native").fit_prepare(bad, ["t1w"])
        view.set_params(space="template").fit_prepare(X, ["t1w"])
        far = X.assign(t1w=[moved(image, (0, 0, 400)) for image in X["t1w"]])
        with pytest.raises(ValueError, match=r"nothing of it is left|no region of atlas|beside"):
            view.prepare(far, ["t1w"])

    def test_what_shows_images_as_they_are_warns(self, X):
        low = nib.affines.from_matvec(np.eye(3), [-5] * 3)
        rolled = [np.roll(np.pad(image.get_fdata(), 5), 4, axis=1) for image in X["t1w"]]
        affine = X["t1w"].iloc[0].affine @ low
        bad = X.assign(t1w=[nib.Nifti1Image(data, affine) for data in rolled])
        with pytest.warns(UserWarning, match="4 of 4 images do not lie in template") as caught:
            StitchedSlices(mosaic_size=48).fit_prepare(bad, ["t1w"])
        assert len(caught) == 1
        toys = X.assign(
            t1w=[nib.Nifti1Image(np.arange(729.0).reshape(9, 9, 9), np.eye(4)) for _ in X.t1w]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            StitchedSlices(mosaic_size=48).fit_prepare(X, ["t1w"])
            StitchedSlices(mosaic_size=48).fit_prepare(toys, ["t1w"])
            StitchedSlices(mosaic_size=48, space="native").fit_prepare(bad, ["t1w"])

    def test_the_verdict_is_kept_with_the_picture(self, X, tmp_path, monkeypatch):
        from prognosis.views import scans
        from prognosis.views.protocol import Reading

        bad = X.assign(t1w=[moved(image, (0, 18, 0)) for image in X["t1w"]])
        view, reading = Volumes(grid="mni152", spacing_mm=16), Reading(memory=tmp_path)
        with pytest.warns(UserWarning, match="4 of 4 images"):
            view.fit_prepare(bad, ["t1w"], reading)

        def check(*args, **kwargs):
            raise AssertionError("checked again")

        monkeypatch.setattr(scans, "check_space", check)
        with pytest.warns(UserWarning, match="4 of 4 images"):
            view.prepare(bad, ["t1w"], reading)

    def test_unequal_grids_are_not_sent_to_resampling_alone(self, X):
        bad = X.assign(t1w=[X["t1w"].iloc[0].slicer[1:], *X["t1w"][1:]])
        with pytest.raises(CohortError, match=r"register all images .* grid only resamples"):
            StitchedSlices(mosaic_size=48).fit_prepare(bad, ["t1w"])


class TestWhereAMaskBelongs:
    def test_a_scan(self, X):
        bad = X.assign(lesion=X["t1w"])
        for feature in (LesionSize(), LesionCount(), RegionLoad(), LesionKernel()):
            with pytest.raises(
                CohortError, match=r"'sub-0001', column 'lesion': .* grey values up"
            ):
                feature.fit_transform(bad)

    def test_labels(self):
        data = np.zeros((10, 10, 10), np.uint8)
        data[:2], data[2:5], data[5] = 1, 2, 4
        X = pd.DataFrame({"lesion": [nib.Nifti1Image(data, np.eye(4))]}, index=["sub-1"])
        with pytest.raises(CohortError, match=r"'sub-1'.* holds 1, 2, 4 .* labels=\[4\]"):
            LesionSize().fit_transform(X)
        assert LesionSize(labels=[1, 4]).fit_transform(X)["lesion_ml"].item() == 0.3
        assert LesionSize(labels=2).fit_transform(X)["lesion_ml"].item() == 0.3
        assert LesionCount(labels=[1, 4]).fit_transform(X)["lesion_count"].item() == 2
        loads = RegionLoad(regions=["Insula_L"], labels=[9], space="native").fit_transform(X)
        assert loads["Insula_L"].item() == 0
        with pytest.raises(ValueError, match="labels"):
            LesionSize(labels="one").fit(X)

    def test_fractions_and_labels(self):
        shares = nib.Nifti1Image(np.full((3, 3, 3), 0.7), np.eye(4))
        assert np.asanyarray(read_mask(shares).dataobj).all()
        with pytest.raises(ImageError, match="holds fractions where labels"):
            read_mask(shares, labels=[1])

    def test_two_values_are_a_mask_whatever_they_are(self):
        data = np.zeros((4, 4, 4), np.int16)
        data[0] = 255
        assert read_mask(nib.Nifti1Image(data, np.eye(4))).get_fdata().sum() == 16

    def test_a_mask_of_the_whole_brain(self):
        from nilearn.datasets import load_mni152_brain_mask

        with pytest.raises(ImageError, match=r"marks 1,8.. ml, more than 1.2 litres"):
            read_mask(load_mni152_brain_mask(resolution=4))


@pytest.mark.parametrize("name", NATIVE)
def test_real_scans_in_native_space_raise_the_alarm(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    X = pd.DataFrame({"scan": [str(path)]}, index=["sub-1"])
    with pytest.raises(CohortError, match="row 'sub-1', column 'scan': this scan does not lie in"):
        Volumes(grid="mni152", spacing_mm=16).fit_prepare(X, ["scan"])


@pytest.mark.skipif(not (DATA / "soop").is_dir(), reason=f"no {DATA / 'soop'}")
def test_no_alarm_in_real_masks():
    """40 of them; of all 708 with a row in the table none is doubtful."""
    for path in sorted((DATA / "soop" / "NIfTI").glob("bwsrsub-*_lesion.nii.gz"))[:400:10]:
        assert check_space(path, volume=read_mask(path), kind="mask").ok, path


@pytest.mark.skipif(not (DATA / "open_ms").is_dir(), reason=f"no {DATA / 'open_ms'}")
def test_no_alarm_in_real_brains_of_template_space():
    for path in sorted((DATA / "open_ms").glob("patient*/*.nii.gz")):
        assert check_space(path).ok, path
        if path.name.startswith("FLAIR"):
            assert check_space(moved(nib.load(path), (0, 0, -30))).verdict == "wrong"
