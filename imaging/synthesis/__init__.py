"""Images that never were: label maps and lesions become scans of any contrast and quality.

Every step draws its parameters from an explicit seed, then applies them without further chance, so
that what was drawn can be read, stored and replayed. Names are imported when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
