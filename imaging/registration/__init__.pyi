from .quality import Quality
from .registering import Registration, register
from .template import output_grid, template_grid
from .transform import Transform, Warp
