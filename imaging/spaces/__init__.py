"""Whether an image lies in template space: the one question before its coordinates are believed.

`checking.check_space` answers it for one image in milliseconds; what follows from the answer (to
refuse, to warn, to draw) is not decided here.
"""
