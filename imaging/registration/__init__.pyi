from .coordinates import CoordinateModel, HeadCoordinates
from .located import CoordinateTarget, Located
from .quality import Quality
from .registering import Registration, register
from .robust import fit_affine
from .shape import head_measures
from .tasks import CoordinateTask
from .template import output_grid, template_grid
from .transform import Transform, Warp
