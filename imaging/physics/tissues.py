"""What healthy tissues and lesions measure, as mean and standard deviation between people.

Tissues are looked up by name, never by position, so that a class cannot be given the values of
another one.
"""

from types import MappingProxyType
from typing import NamedTuple

__all__ = ["LESION_STATISTICS", "TISSUES", "TISSUE_STATISTICS", "TissueStatistics"]


class TissueStatistics(NamedTuple):
    """Mean and standard deviation of each map: PD and MT in percent units, R1 and R2* in 1/s."""

    pd: tuple[float, float]
    r1: tuple[float, float]
    r2s: tuple[float, float]
    mt: tuple[float, float]


# The number of a tissue in a label map is its place here; 0 to 5 are the classes of a segmentation.
TISSUES = (
    "background",
    "grey matter",
    "grey/white partial volume",
    "white matter",
    "csf",
    "lesion",
    "fat and marrow",
    "muscle and soft tissue",
    "skin and vessels",
    "eyes and dura",
    "bone and air",
)

# Over 51 healthy subjects at 3 T, hMRI-style multi-parameter maps (Chalcroft et al.,
# arXiv 2412.03318). The five classes outside the brain were found without names; the names say
# which tissue their values fit best (a fast R1 is fat, a low PD with a fast R2* is bone and air).
TISSUE_STATISTICS = MappingProxyType(
    {
        "background": TissueStatistics((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
        "grey matter": TissueStatistics(
            (76.84, 8.44), (0.652, 0.114), (19.84, 10.55), (0.779, 0.274)
        ),
        "grey/white partial volume": TissueStatistics(
            (75.37, 7.93), (0.788, 0.126), (23.90, 14.47), (1.040, 0.324)
        ),
        "white matter": TissueStatistics(
            (69.79, 5.41), (0.968, 0.088), (22.23, 7.58), (1.500, 0.280)
        ),
        "csf": TissueStatistics((74.79, 18.17), (0.514, 0.172), (18.34, 14.06), (0.328, 0.341)),
        "fat and marrow": TissueStatistics(
            (63.70, 15.00), (1.340, 0.304), (67.26, 18.32), (0.683, 0.775)
        ),
        "muscle and soft tissue": TissueStatistics(
            (68.11, 12.65), (0.921, 0.213), (48.71, 16.37), (0.727, 0.550)
        ),
        "skin and vessels": TissueStatistics(
            (57.92, 18.19), (1.035, 0.236), (60.57, 19.40), (0.569, 0.744)
        ),
        "eyes and dura": TissueStatistics(
            (49.98, 21.84), (0.864, 0.242), (55.69, 29.86), (0.339, 0.464)
        ),
        "bone and air": TissueStatistics(
            (26.90, 16.07), (0.842, 0.204), (40.47, 28.01), (0.169, 0.557)
        ),
    }
)

# Values of lesions were never published as such tables. Chosen here, by these reasons:
# - a chronic cavity is filled with fluid: between pure CSF (PD 100, R1 0.25, R2* 1, MT 0.05) and
#   its gliotic rim, as dark as CSF on T1w and FLAIR, bright on T2w;
# - an acute infarct (hours to days) holds 3-10 % more water, which slows R1 by a fifth to a third
#   and R2* by about a third against grey matter and lowers MT: bright on T2w and FLAIR, slightly
#   dark on T1w;
# - gliosis is scarred tissue without myelin: R1 and MT of grey matter or a little less, R2* lower:
#   bright on FLAIR, isointense to grey matter on T1w.
LESION_STATISTICS = MappingProxyType(
    {
        "cavity": TissueStatistics((94.0, 3.0), (0.30, 0.03), (2.5, 0.8), (0.10, 0.04)),
        "acute": TissueStatistics((83.0, 3.0), (0.50, 0.05), (12.5, 1.5), (0.50, 0.10)),
        "gliosis": TissueStatistics((80.0, 3.0), (0.58, 0.05), (13.5, 1.5), (0.62, 0.12)),
    }
)
