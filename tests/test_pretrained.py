"""The segmenter that comes with the package: what its card says, and that it finds lesions."""

import nibabel as nib
import numpy as np
import pytest

from imaging import LabelMapSource, LesionSegmenter
from imaging.segmentation import segmentation_chain
from imaging.segmentation.model_files import pretrained_path

LARGEST_BYTES = 10_000_000
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def segmenter():
    return LesionSegmenter.from_pretrained("synthetic-small")


def heads(count, **source):
    """SIMULATED heads on the template's anatomy, which was not in training."""
    chain = segmentation_chain(LabelMapSource(**source), spacing_mm=2.0, classes="lesion")
    for seed in range(count):
        scene, _ = chain.sample({}, seed)
        yield tuple(nib.Nifti1Image(scene[name][0].numpy(), AFFINE) for name in ("image", "target"))


def test_the_file_is_small_and_says_what_it_is(segmenter):
    assert pretrained_path("synthetic-small").stat().st_size < LARGEST_BYTES
    card = segmenter.card_
    assert card["task"] == "LesionSegmenter" and card["classes"][-1] == "lesion"
    assert card["training_data"].startswith("synthetic scans only")
    assert 0 < card["scores"]["synthetic_lesion_dice"] < 1
