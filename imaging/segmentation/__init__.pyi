from .segmenters import LESION_CLASSES, TISSUE_CLASSES, LesionSegmenter, TissueSegmenter
