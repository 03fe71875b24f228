from .coordinates import CoordinateModel, HeadCoordinates
from .located import CoordinateTarget, Located
from .robust import fit_affine
from .tasks import CoordinateTask
from .shape import head_measures
