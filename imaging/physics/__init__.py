"""MRI physics: quantitative maps, signal equations and the protocols that scanners run.

Times are in seconds, rates in 1/s, flip angles in degrees, PD and MT in percent units. Names are
imported when first used, so that this package costs nothing before it is needed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
