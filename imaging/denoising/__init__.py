"""Noise of scans: how much there is, and a network that takes it off.

The network sees scans in units of the standard deviation of their noise, so that noise looks the
same to it in every scan, and gives the noise at every voxel, which is then subtracted. Names are
imported when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
