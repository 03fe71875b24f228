"""Neural networks: encoders, classifiers and segmenters as plain torch modules."""

ARCHITECTURES = ("lightweight", "resnet10", "resnet18", "resnet34", "resnet50", "resnet101")
"""Image encoders by name, see `imaging.nets.classifiers.build_encoder`."""
