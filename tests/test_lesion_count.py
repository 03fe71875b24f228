"""The number of lesions: which voxels are one, what is too small, and where it is counted."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from imaging import ImageError, count_lesions, to_spacing
from prognosis import CohortError, LesionCount, LesionSize


def boxes(*corners, edge=3, shape=(30, 30, 30)):
    data = np.zeros(shape, np.uint8)
    for corner in corners:
        data[tuple(slice(start, start + edge) for start in corner)] = 1
    return data


def table(*images):
    X = pd.DataFrame({"lesion": pd.Series(list(images), dtype=object)})
    return X.set_axis([f"sub-{k}" for k in range(len(X))])


def counts(X, **parameters):
    return LesionCount(**parameters).fit_transform(X).iloc[:, -1].tolist()


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    assert count_lesions(boxes((2, 2, 2), (5, 5, 5))) == 1
    assert count_lesions(boxes((2, 2, 2), (6, 6, 6))) == 2
    assert count_lesions(np.zeros((4, 4, 4))) == 0
    assert count_lesions(np.ones((4, 4))) == 1


@pytest.mark.parametrize(("least_mm3", "expected"), [(0, 3), (1, 3), (2, 2), (27, 2), (27.1, 0)])
def test_the_smallest_are_left_out(least_mm3, expected):
    data = boxes((1, 1, 1), (10, 10, 10))
    data[20, 20, 20] = 1
    assert count_lesions(data, spacing_mm=1, least_mm3=least_mm3) == expected
    image = nib.Nifti1Image(data, np.diag([-1, 1, 1, 1]))
    assert count_lesions(image, least_mm3=least_mm3) == expected
    assert counts(table(image), least_mm3=least_mm3) == [expected]


def test_what_is_no_mask_is_refused():
    with pytest.raises(ImageError, match="holds fractions"):
        count_lesions(np.full((3, 3, 3), 0.4))
    with pytest.raises(ImageError, match="give spacing_mm"):
        count_lesions(np.ones((3, 3, 3)), least_mm3=2)
    with pytest.raises(ValueError, match="'least_mm3' parameter of LesionCount"):
        LesionCount(least_mm3=-1).fit(table())


def test_counts_do_not_depend_on_the_grid(affine):
    """The same lesions on coarse voxels and on fine ones, in any orientation."""
    data = boxes((2, 2, 2), (2, 10, 12), (20, 20, 20))
    image = nib.Nifti1Image(data, affine)
    assert counts(table(image)) == counts(table(image), spacing_mm=None) == [3]
    assert count_lesions(to_spacing(image, 1)) == 3


def test_a_volume_is_kept_by_the_way_to_other_voxels(affine):
    image = nib.Nifti1Image(boxes((8, 8, 8), edge=12), affine)
    fine = to_spacing(image, 0.5)
    volumes = [
        np.count_nonzero(one.dataobj) * abs(np.linalg.det(one.affine[:3, :3]))
        for one in (image, fine)
    ]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.02)


def test_columns_values_and_logarithm():
    X = table(nib.Nifti1Image(boxes((2, 2, 2), (12, 12, 12)), np.eye(4)))
    X.loc["sub-1", "lesion"] = nib.Nifti1Image(np.zeros((5, 5, 5)), np.eye(4))
    both = LesionCount(volume="lesion_ml").fit_transform(X)
    assert both.columns.tolist() == ["lesion", "lesion_count", "lesion_ml"]
    assert both["lesion_count"].tolist() == [2, 0]
    assert both["lesion_ml"].tolist() == LesionSize().fit_transform(X)["lesion_ml"].tolist()
    logarithms = LesionCount(log=True).fit_transform(X)
    assert logarithms["log_lesion_count"].tolist() == [np.log1p(2), 0]
    assert LesionCount(column="n").fit(X).get_feature_names_out().tolist() == ["lesion", "n"]
    assert clone(LesionCount(log=True, least_mm3=20)).get_params()["least_mm3"] == 20


def test_a_volume_that_is_there_stays_if_it_is_that_of_the_mask():
    masks = [boxes((2, 2, 2)), boxes((2, 2, 2), (12, 12, 12))]
    X = table(*[nib.Nifti1Image(mask, np.eye(4)) for mask in masks])
    sized = LesionSize().fit_transform(X)
    count = LesionCount(volume="lesion_ml").fit(sized)
    assert count.transform(sized).columns.tolist() == ["lesion", "lesion_ml", "lesion_count"]
    assert count.get_feature_names_out().tolist() == ["lesion", "lesion_ml", "lesion_count"]
    rounded = sized.assign(lesion_ml=sized["lesion_ml"].round(2))
    assert count.transform(rounded)["lesion_ml"].equals(rounded["lesion_ml"])
    for wrong in (0.07, np.nan):
        other = sized.assign(lesion_ml=[sized["lesion_ml"].iloc[0], wrong])
        with pytest.raises(CohortError, match=r"row 'sub-1': column 'lesion_ml' says .* drop"):
            count.transform(other)
    alone = LesionCount(volume="lesion_ml", output="added").fit_transform(sized)
    assert alone.columns.tolist() == ["lesion_count", "lesion_ml"]


def test_one_reading_serves_count_volume_and_logarithm(tmp_path, monkeypatch):
    from prognosis.features import lesion_count

    X = table(nib.Nifti1Image(boxes((2, 2, 2)), np.eye(4)))
    LesionCount(memory=str(tmp_path)).fit_transform(X)

    def read(source, labels):
        raise AssertionError("read again")

    monkeypatch.setattr(lesion_count, "read_mask", read)
    again = LesionCount(log=True, volume="ml", memory=str(tmp_path)).fit_transform(X)
    assert again[["log_lesion_count", "ml"]].iloc[0].tolist() == [np.log1p(1), 0.027]
    with pytest.raises(AssertionError, match="read again"):
        LesionCount(least_mm3=5, memory=str(tmp_path)).fit_transform(X)
