"""Prognosis from brain MRI and tabular data, in scikit-learn's language.

`prognosis` knows patients and asks `imaging` for everything about voxels. Every public name is
listed in ``__init__.pyi`` and imported only when it is first used, so ``import prognosis`` stays
light.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
