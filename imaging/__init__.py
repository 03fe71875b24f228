"""Voxels: reading, summarising, simulating and modelling brain images.

`imaging` knows nothing of patients; that is `prognosis`. Every public name is listed in
``__init__.pyi`` and imported only when it is first used, so ``import imaging`` stays light.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
