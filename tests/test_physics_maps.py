"""Quantitative maps: their units are checked, and they move to another field strength."""

import warnings

import nibabel as nib
import numpy as np
import pytest
import torch

from imaging.errors import UnitError, UnitWarning
from imaging.physics import (
    LESION_STATISTICS,
    MEASURED_STATISTICS,
    TISSUE_STATISTICS,
    TISSUES,
    QuantitativeMaps,
)

GREY = {"pd": 76.8, "r1": 0.65, "r2s": 19.8, "mt": 0.78}


def maps(**changes):
    values = {**GREY, **changes}
    return QuantitativeMaps(**{k: None if v is None else np.full(8, v) for k, v in values.items()})


def test_good_maps_pass_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert maps().shape == (8,)
        assert maps(mt=None).mt is None
        assert QuantitativeMaps(*(np.zeros((2, 2)) for _ in range(4))).shape == (2, 2)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"r1": 900.0}, "T1 in milliseconds: give 1000 / t1_ms"),
        ({"r1": 0.0009}, r"rates in 1/ms: give r1 \* 1000"),
        ({"r2s": 0.02}, "1/ms"),
        ({"r1": -0.5}, "clip it at 0"),
        ({"mt": np.nan}, "NaN"),
        ({"pd": np.inf}, "NaN or infinite"),
    ],
)
def test_wrong_units_are_refused(change, reason):
    with pytest.raises(UnitError, match=reason):
        maps(**change)


@pytest.mark.parametrize("change, reason", [({"mt": 0.015}, r"mt \* 100"), ({"pd": 0.8}, "pd")])
def test_suspicious_units_get_a_warning(change, reason):
    with pytest.warns(UnitWarning, match=reason):
        maps(**change)


def test_shapes_must_agree():
    with pytest.raises(UnitError, match=r"mt map has shape \(3,\) where that of pd, \(8,\)"):
        QuantitativeMaps(*(np.full(8, GREY[k]) for k in ("pd", "r1", "r2s")), mt=np.ones(3))
    with pytest.raises(UnitError, match="str where an array"):
        QuantitativeMaps("a.nii", np.ones(1), np.ones(1))


def test_kinds_of_input():
    assert maps().kind == "array"
    assert QuantitativeMaps(*(torch.full((2,), v) for v in GREY.values())).kind == "tensor"
    image = nib.Nifti1Image(np.full((2, 2, 2), 70, np.int16), np.eye(4))
    whole = QuantitativeMaps(image, np.full((2, 2, 2), 0.9), np.full((2, 2, 2), 20.0))
    assert whole.kind == "image"
    assert whole.pd.dtype == np.float32


def test_field_strength():
    white = QuantitativeMaps(np.array([69.8, 0]), np.array([0.968, 0]), np.array([22.2, 0]))
    low = white.at_field(1.5)
    # T1 of white matter 1.03 s at 3 T becomes some 0.79 s at 1.5 T, by the published power .38.
    assert np.isclose(low.r1[0] / 0.968, 2**0.382, rtol=0.02)
    assert low.r2s[0] < 22.2 and low.r1[1] == 0
    np.testing.assert_allclose(white.at_field(3.0).r1, white.r1)


def test_statistics_are_named_and_ordered():
    assert TISSUES[:6] == (
        "background",
        "grey matter",
        "grey/white partial volume",
        "white matter",
        "csf",
        "lesion",
    )
    assert set(TISSUE_STATISTICS) == set(TISSUES) - {"lesion"}
    assert set(MEASURED_STATISTICS) == set(TISSUES) - {"lesion", "eye fluid"}
    assert MEASURED_STATISTICS["white matter"].r1 == (0.968, 0.088)
    fluid = {"pd": 100, "r1": 0.25, "r2s": 1.0, "mt": 0.05}
    grey = TISSUE_STATISTICS["grey matter"]
    order = [LESION_STATISTICS[k] for k in ("cavity", "acute", "gliosis")]
    for name in ("r1", "r2s", "mt"):
        means = [fluid[name], *(getattr(s, name)[0] for s in order), getattr(grey, name)[0]]
        assert means == sorted(means)
