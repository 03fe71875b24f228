"""Label atlases: regions by name, where they lie, and how much of each a lesion takes.

Names are imported when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
