"""From scans to a template, and back: where in the template every voxel lies.

Every public name is listed in ``__init__.pyi`` and imported only when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
