"""Networks from voxels to voxels: their training, windows, geometry, files and cards.

What one of them is for is said by a `Task`; nothing else here knows it. Names are imported when
first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
