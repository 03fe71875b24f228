"""Neural networks: encoders, classifiers, and from voxels to voxels, as plain torch modules."""

ARCHITECTURES = ("lightweight", "resnet10", "resnet18", "resnet34", "resnet50", "resnet101")
"""Image encoders by name, see `imaging.nets.encoders.build_encoder`."""

VOXELWISE = (
    "unet",
    "mde",
    "mded",
    "dynunet",
    "swinunetr",
    "folded",
    "denoising",
    "unet-small",
    "mde-small",
    "mded-small",
    "dynunet-small",
    "swinunetr-small",
    "folded-small",
    "denoising-small",
)
"""Networks from voxels to voxels by name, see `imaging.nets.voxelwise.build_voxelwise`."""

PRETRAINING = ("small", "shape", "cnn", "vit")
"""Encoders for pretraining by name, see `imaging.nets.pretraining.build_pretraining_encoder`."""

ON_PRETRAINED = tuple(f"{way}-{name}" for way in ("encoder", "features") for name in PRETRAINING)
"""Networks from voxels to voxels that have one of these encoders inside, see `build_voxelwise`."""
