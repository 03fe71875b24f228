from .losses import SegmentationLoss
from .segmenters import LesionSegmenter, TissueSegmenter
from .tasks import LESION_CLASSES, TISSUE_CLASSES, LesionTask, TissueTask
