"""Neural networks: encoders, classifiers and segmenters as plain torch modules."""

ARCHITECTURES = ("lightweight", "resnet10", "resnet18", "resnet34", "resnet50", "resnet101")
"""Image encoders by name, see `imaging.nets.classifiers.build_encoder`."""

SEGMENTERS = (
    "unet",
    "mde",
    "mded",
    "dynunet",
    "swinunetr",
    "folded",
    "unet-small",
    "mde-small",
    "mded-small",
    "dynunet-small",
    "swinunetr-small",
    "folded-small",
)
"""Segmentation networks by name, see `imaging.nets.segmenters.build_segmenter`."""
