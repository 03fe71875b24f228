"""What a segmenter's parameters cannot be is refused in fit, in load, and before predicting."""

import nibabel as nib
import numpy as np
import pytest
from sklearn.base import clone

from imaging.parameters import POSITIVE, parameter, parameters
from imaging.segmentation import LesionSegmenter, TissueSegmenter

WRONG = {
    "architecture": ["transformer", None],
    "channels": [(4, 0), 8, (4.5, 8, 8)],
    "initial_weights": [3],
    "freeze": [0, -1, 1.5, "all"],
    "spatial_dims": [4, "3"],
    "source": [3, "heads"],
    "validation_source": [3],
    "contrast": ["ultrasound"],
    "ranges": ["wide"],
    "real_share": [0, 1, -0.5, np.nan],
    "spacing_mm": [0, -1, np.nan, np.inf],
    "patch_size": [0, 16.5, (16, -16, 16)],
    "patches": [0],
    "mirror": [7, -0.5, (0.5, 2, 0), "left"],
    "augment": ["yes"],
    "ct": ["no", 3],
    "lesion_weight": [0],
    "tversky": [-0.1],
    "warm_start_steps": [-1],
    "deep_supervision": ["yes"],
    "dropout": [1, -0.1],
    "epochs": [0, 1.5],
    "steps_per_epoch": [0],
    "batch_size": [0],
    "learning_rate": [0, -1, np.nan],
    "weight_decay": [-1],
    "validation_samples": [-1, 0.5],
    "validation_fraction": [1, -0.1],
    "overlap": [1, -0.1],
    "test_time_mirroring": ["all", 1, (0, 3), (-1,), (0.5,), None],
    "precision": ["typo", None],
    "device": [0],
    "n_threads": [0],
    "checkpoint": [3],
    "random_state": ["seed"],
    "verbose": ["loud"],
    "learn_tissues": ["yes"],
    "threshold": [5, -0.1, np.nan, None],
}
# Each is possible, but not together with others.
TOGETHER = [
    ({"mirror": (0.5, 0.5)}, "mirror .* has 2 numbers for 3 axes"),
    ({"patch_size": (16, 16)}, "patch_size .* has 2 numbers for 3 axes"),
    ({"spatial_dims": 2, "mirror": (0.5, 0, 0)}, "mirror .* has 3 numbers for 2 axes"),
    ({"spatial_dims": 2, "test_time_mirroring": (2,)}, "test_time_mirroring names axes"),
    ({"test_time_mirroring": (0, 0)}, "different axes below 3"),
]
WORDS = [(name, value) for name, values in WRONG.items() for value in values]


def test_no_parameter_is_forgotten():
    for kind in (LesionSegmenter, TissueSegmenter):
        names = set(kind().get_params(deep=False))
        assert names == set(kind._parameter_constraints) == names & set(WRONG)


@pytest.mark.parametrize(("name", "value"), WORDS, ids=map(str, WORDS))
def test_a_wrong_parameter_is_refused_before_the_work(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of LesionSegmenter must be"):
        LesionSegmenter(**{name: value}).fit(["nowhere.nii"], ["nowhere.nii"])


@pytest.mark.parametrize(("change", "message"), TOGETHER)
def test_wrong_together(change, message):
    with pytest.raises(ValueError, match=message):
        LesionSegmenter(**change).fit(["nowhere.nii"], ["nowhere.nii"])
    with pytest.raises(ValueError, match="multiple of 8"):
        LesionSegmenter(patch_size=18).fit()


def test_predicting_and_loading_refuse_them_too(segmenter, tmp_path):
    path = segmenter.save(tmp_path / "model.safetensors")
    loaded = LesionSegmenter.load(path)
    for change in ({"threshold": 5}, {"mirror": (0.5, 0.5)}, {"test_time_mirroring": (0, 7)}):
        (name,) = change
        with pytest.raises(ValueError, match=name):
            LesionSegmenter.load(path, **change)
        loaded = LesionSegmenter.load(path).set_params(**change)
        for method in (loaded.predict, loaded.predict_proba):
            with pytest.raises(ValueError, match=name):
                method(["nowhere.nii"])
        with pytest.raises(ValueError, match=name):
            loaded.score(["nowhere.nii"], ["nowhere.nii"])


def test_numbers_of_numpy_are_numbers(segmenter, tmp_path):
    scan = nib.Nifti1Image(np.random.default_rng(0).random((12, 12, 12)), np.diag([8, 8, 8, 1.0]))
    path = segmenter.save(tmp_path / "model.safetensors")
    plain = LesionSegmenter.load(path, threshold=0.25, test_time_mirroring=True)
    odd = LesionSegmenter.load(
        path, threshold=np.float64(0.25), test_time_mirroring=np.True_, mirror=np.array([0.5, 0, 0])
    )
    one, other = (model.predict([scan])[0].dataobj for model in (plain, odd))
    np.testing.assert_array_equal(one, other)
    assert odd.identity() == plain.identity()


@parameters
class WithMargin(LesionSegmenter):
    """A segmenter with one parameter more, declared in one place.

    Parameters
    ----------
    {parameters}
    """

    margin_mm: float = parameter(2.0, POSITIVE, stored="later", doc="Kept around a lesion.")


def test_a_parameter_is_declared_in_one_place(segmenter, tmp_path):
    path = segmenter.save(tmp_path / "model.safetensors")
    model = WithMargin.load(path, margin_mm=4)  # a card that does not know it
    assert "margin_mm : float, default=2.0\n    Kept around" in WithMargin.__doc__
    assert clone(model).margin_mm == 4 and "margin_mm=4" in repr(model)
    with pytest.raises(ValueError, match="The 'margin_mm' parameter of WithMargin must be"):
        model.set_params(margin_mm=-1).predict([])
    model.set_params(margin_mm=4)
    again = WithMargin.load(model.save(tmp_path / "margin.safetensors"))
    assert again.margin_mm == 4 and again.identity() == model.identity()
    assert again.set_params(margin_mm=3).identity() != model.identity()
