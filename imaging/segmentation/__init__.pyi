from .estimator import LesionSegmenter, TissueSegmenter
from .model_files import ModelFileError, read_model, write_model
from .recipes import segmentation_chain
