from .estimator import VoxelwiseModel
from .task import Task
