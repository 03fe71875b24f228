from .estimator import LESION_CLASSES, TISSUE_CLASSES, LesionSegmenter, TissueSegmenter
from .model_files import ModelFileError, read_model, write_model
from .recipes import segmentation_chain
