from .encoder import SequenceInvariantEncoder
from .head_shape import HeadShapeEncoder
