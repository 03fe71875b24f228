"""A model of one's own needs a Task and nothing else: here, where in the head a voxel lies."""

import nibabel as nib
import numpy as np
import pytest
import torch

from imaging import ModelFileError, Task, VoxelwiseModel
from imaging.synthesis import Keep, LabelMapSource
from imaging.synthesis.steps import Step

SCAN = nib.Nifti1Image(np.random.default_rng(0).random((20, 24, 18)), np.diag([-8, 8, 8, 1]))


class WhereVoxelsLie(Step):
    """Makes ``target``: a voxel's place along each axis, from -1 to 1."""

    def draw(self, draws, scene):
        return {}

    def apply(self, scene, parameters):
        axes = [torch.linspace(-1, 1, n) for n in scene["image"].shape[1:]]
        return {**scene, "target": torch.stack(torch.meshgrid(*axes, indexing="ij"))}


class Places(Task):
    outputs = ("x", "y", "z")
    score_name = "error"
    higher_is_better = False

    def ending(self):
        return WhereVoxelsLie(), Keep("image", "target")

    def loss(self):
        return lambda outputs, target, step: (outputs - target).abs().flatten(1).mean(1)

    def score(self, outputs, target):
        return np.abs(outputs.cpu().numpy() - target).mean((1, 2, 3)).tolist()


def test_a_task_is_all_that_a_model_needs(tmp_path):
    settings = {"channels": (4, 8, 8), "source": LabelMapSource(spacing_mm=8), "spacing_mm": 8}
    settings |= {"patch_size": 16, "epochs": 4, "steps_per_epoch": 10, "learning_rate": 0.01}
    settings |= {"validation_samples": 2, "mirror": 0, "random_state": 0}
    model = VoxelwiseModel(task=Places(), **settings).fit()
    errors = [row["score"] for row in model.history_]
    assert min(errors) < 0.8 * errors[0] or min(errors) < 0.3
    loaded = VoxelwiseModel.load(model.save(tmp_path / "places.safetensors"), task=Places())
    (one,), (other,) = model.predict([SCAN]), loaded.predict([SCAN])
    assert one.shape == (20, 24, 18, 3) and nib.aff2axcodes(one.affine) == ("L", "A", "S")
    np.testing.assert_array_equal(one.dataobj, other.dataobj)
    left_to_right = np.asanyarray(one.dataobj)[..., 0].mean((1, 2))
    assert left_to_right[:6].mean() > left_to_right[-6:].mean()  # the grid runs to the left
    with pytest.raises(ModelFileError, match="outputs x, y, z"):
        VoxelwiseModel.load(tmp_path / "places.safetensors", task=Task())
