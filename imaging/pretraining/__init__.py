"""Encoders learnt without any outcome, from simulated contrasts of one head.

People, views of them, what is minimised, the estimator, and its files have a room each. Names are
imported when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
