"""Every step refuses what its parameters cannot be, in one sentence, when it is made."""

import math

import pytest
import torch

import imaging.synthesis
from imaging.parameters import fields_of
from imaging.synthesis import (
    Acquisition,
    BiasField,
    Blur,
    Chain,
    CoarseDropout,
    Deformation,
    Gamma,
    Gibbs,
    IntensityMixture,
    Keep,
    LabelMapSource,
    LowResolution,
    OneOf,
    PasteLesions,
    RandomSequence,
    Rescale,
    RicianNoise,
    SkullStrip,
    Step,
    SyntheticScans,
    TakePlane,
    Target,
    TissueMaps,
    ZScore,
)

# Arguments without which a step cannot be made.
NEEDED = {"Acquisition": (Blur(), LowResolution(), Gibbs(), RicianNoise())}
# What each parameter must not be, besides nonsense of another type, which none may be.
WRONG = {
    Acquisition: {"blur": [Gibbs()], "resolution": [Blur()], "gibbs": [1], "noise": [None]},
    BiasField: {"strength": [-0.1], "points": [(7, 4), (3, 5), 4, (4, 5, 6), (4.0, 7.0)]},
    Blur: {"fwhm": [-1]},
    CoarseDropout: {
        "holes": [(3, 1), (-1, 2), 3],
        "size": [(0, 5), (8, 5), (0.5, 0.1), (1.5, 4), (1, 2, 3), 5],
    },
    Deformation: {
        "rotation_deg": [-1],
        "shear": [-0.1],
        "zoom": [1, -0.1],
        "elastic": [-1],
        "control_points": [3, 7.5],
        "patch_size": [0, (16, 0), 1.5],
        "spacing": [0, -1],
        "centre_on": ["left"],
        "mirror": [1.5, (0.5, -1)],
    },
    Gamma: {"sd": [-1]},
    Gibbs: {"least_kept": [0, 1.1]},
    IntensityMixture: {
        "classes": [0, 2.5],
        "mean": [(255, 0), (0, math.nan), 5],
        "sd": [-1],
        "texture_width": [-1],
        "background": [-1, 12, (0, 12)],
        "noise_device": [3],
    },
    LabelMapSource: {
        "label_maps": [[], "head.nii.gz"],
        "lesions": [[], "lesion.nii.gz"],
        "table": [[]],
        "lesion_probability": [-0.1, 2],
        "most_lesions": [0, 9, 1.5],
        "mirror_lesions": [2],
        "fit": ["best"],
        "fill_holes": ["no"],
        "spacing_mm": [0, 1.5],
        "device": [3],
    },
    LowResolution: {"thickest": [0.5], "coarsest": [0], "thick_slices": [2]},
    PasteLesions: {
        "onto": ["labels"],
        "kinds": [[], ["tumour"], "acute"],
        "edge_width": [-1],
        "fade": [2, -1],
        "fade_probability": [-1],
        "mean": [(2, 1)],
        "sd": [-1],
        "softening": ["boxy"],
        "noise_device": [3],
        "in_place": ["yes"],
    },
    RandomSequence: {"sequences": [[], ["t1"], "flair"], "ranges": ["wide"]},
    Rescale: {"low": [-0.1, 0.99], "high": [0.01, 1.1]},
    RicianNoise: {
        "sd": [-1],
        "coils": [0, 1.5],
        "g_factor": [-1],
        "noise_device": [3],
        "signed": ["no"],
    },
    SkullStrip: {"growth": [-1, 1.5]},
    Target: {"classes": ["all"]},
    TissueMaps: {
        "statistics": [[]],
        "spread": [-1],
        "temperature": [-1],
        "texture_width": [-1],
        "noise_device": [3],
    },
    ZScore: {},
    TakePlane: {"axes": [[], (3,), (-1,), 2]},
}


def _steps():
    found = [getattr(imaging.synthesis, name) for name in imaging.synthesis.__all__]
    return {one for one in found if isinstance(one, type) and issubclass(one, Step)}


def _parameters(step):
    """Names of what a step can be told, as it stores them."""
    return {name for name in vars(step(*NEEDED.get(step.__name__, ()))) if name[0] != "_"}


def test_no_step_and_no_parameter_is_forgotten():
    variadic = {Step, Chain, OneOf, Keep}
    assert _steps() == set(WRONG) | variadic
    for step, wrong in WRONG.items():
        assert _parameters(step) - {"probability"} == set(wrong), step.__name__


@pytest.mark.parametrize("step", WRONG, ids=lambda step: step.__name__)
def test_a_step_refuses_what_its_parameters_cannot_be(step):
    wrong = dict(WRONG[step])
    if "probability" in _parameters(step):
        wrong["probability"] = [7, -0.1, math.nan, "often", None]
    needed = dict(
        zip(("blur", "resolution", "gibbs", "noise"), NEEDED.get(step.__name__, ()), strict=False)
    )
    for name, values in wrong.items():
        for value in [*values, object()]:
            with pytest.raises(ValueError, match=f"'{name}|'low'") as caught:
                step(**{**needed, name: value})
            message = str(caught.value)
            assert step.__name__ in message and message.count("\n") == 0
        if any(isinstance(value, (int, float)) for value in values) and name != "device":
            with pytest.raises(ValueError, match=name):
                step(**{**needed, name: math.nan})


def test_steps_of_steps_hold_steps():
    with pytest.raises(ValueError, match="'steps' parameter of OneOf"):
        OneOf()
    for kind in (Chain, OneOf):
        with pytest.raises(ValueError, match=f"'steps' parameter of {kind.__name__}"):
            kind(Blur(), "gamma")
    with pytest.raises(ValueError, match="'names' parameter of Keep"):
        Keep("image", 3)
    with pytest.raises(ValueError, match="'length' parameter of SyntheticScans"):
        SyntheticScans(Gamma(), length=0)
    with pytest.raises(ValueError, match="'random_state' parameter of SyntheticScans"):
        SyntheticScans(Gamma(), random_state="seven")
    with pytest.raises(ValueError, match="'chain' parameter of SyntheticScans"):
        SyntheticScans([Gamma()])


def test_one_number_or_one_for_each_axis():
    scene = {"image": torch.rand(1, 12, 12, 12)}
    for name in ("mirror", "patch_size"):
        with pytest.raises(ValueError, match=f"{name} .* has 2 axes for a scene of 3"):
            Deformation(**{name: (1, 1)}).sample(scene, 0)
    assert Deformation(patch_size=(8, 9, 10)).sample(scene, 0)[0]["image"].shape == (1, 8, 9, 10)


def test_all_steps_can_be_left_to_chance_but_those_without_which_there_is_no_sample():
    always = {LabelMapSource, TakePlane, Target}
    assert {step for step in WRONG if "probability" not in fields_of(step)} == always
    with pytest.raises(TypeError, match="probability"):
        Target(probability=0.5)


def test_steps_are_shown_as_the_code_that_makes_them():
    source = LabelMapSource(lesion_probability=1.0, spacing_mm=8)
    assert repr(source) == "LabelMapSource(lesion_probability=1.0, spacing_mm=8)"
    assert repr(Chain(OneOf(Blur(2.0), Gamma()), Keep("image"))) == (
        'Chain(OneOf(Blur(fwhm=2.0), Gamma()), Keep("image"))'
    )
    everything = Chain(source, *[one(*NEEDED.get(one.__name__, ())) for one in WRONG])
    again = eval(repr(everything), vars(imaging.synthesis) | vars(torch))
    assert repr(again) == repr(everything) and len(again.steps) == len(WRONG) + 1
    assert repr(SyntheticScans(Gamma(), length=3)) == "SyntheticScans(chain=Gamma(), length=3)"
    assert "table" in repr(LabelMapSource(table={0: "background"}))


def test_a_subclass_inherits_what_its_base_refuses():
    class Own(LabelMapSource):
        pass

    with pytest.raises(ValueError, match="'lesion_probability' parameter of Own"):
        Own(lesion_probability=3)
