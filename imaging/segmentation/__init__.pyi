from .estimator import LesionSegmenter
from .recipes import segmentation_chain
