from .places.model import CoordinateModel, HeadCoordinates
from .places.located import CoordinateTarget, Located
from .quality import Quality
from .registering import Registration, register
from .places.robust import fit_affine
from .places.shape import head_measures
from .places.tasks import CoordinateTask
from .template import output_grid, template_grid
from .transform import Transform, Warp
