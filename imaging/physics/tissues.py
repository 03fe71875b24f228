"""What healthy tissues and lesions measure, as mean and standard deviation between people.

Tissues are looked up by name, never by position, so that a class cannot be given the values of
another one.
"""

from typing import NamedTuple

__all__ = [
    "LESION_STATISTICS",
    "MEASURED_STATISTICS",
    "TISSUES",
    "TISSUE_STATISTICS",
    "TissueStatistics",
]


class TissueStatistics(NamedTuple):
    """Mean and standard deviation of each map: PD and MT in percent units, rates in 1/s.

    Examples
    --------
    >>> grey, white = (MEASURED_STATISTICS[name] for name in ("grey matter", "white matter"))
    >>> grey.r1[0] < white.r1[0]
    True
    >>> blood = TissueStatistics(pd=(85, 5), r1=(0.6, 0.1), r2s=(20, 5), mt=(0.5, 0.2))
    >>> blood.r2 is None
    True
    """

    pd: tuple[float, float]
    r1: tuple[float, float]
    r2s: tuple[float, float]
    mt: tuple[float, float]
    r2: tuple[float, float] | None = None


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
    "dura and connective tissue",
    "bone and air",
    "eye fluid",
)

# Over 51 healthy subjects at 3 T (Chalcroft et al., arXiv 2412.03318). The five classes outside the
# brain were published without names; theirs here say which tissue the values fit best (a fast R1
# is fat, a low PD bone and air). The csf class is mixed with its neighbours: pure fluid is slower.
MEASURED_STATISTICS = {
    "background": TissueStatistics((0, 0), (0, 0), (0, 0), (0, 0)),
    "grey matter": TissueStatistics((76.84, 8.44), (0.652, 0.114), (19.84, 10.55), (0.779, 0.274)),
    "grey/white partial volume": TissueStatistics(
        (75.37, 7.93), (0.788, 0.126), (23.90, 14.47), (1.040, 0.324)
    ),
    "white matter": TissueStatistics((69.79, 5.41), (0.968, 0.088), (22.23, 7.58), (1.500, 0.280)),
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
    "dura and connective tissue": TissueStatistics(
        (49.98, 21.84), (0.864, 0.242), (55.69, 29.86), (0.339, 0.464)
    ),
    "bone and air": TissueStatistics(
        (26.90, 16.07), (0.842, 0.204), (40.47, 28.01), (0.169, 0.557)
    ),
}

# What the simulation draws from unless told otherwise: the measured brain, completed where a
# picture would betray it.
# - R2, which spin echoes follow: T2 at 3 T of grey matter 99 ms, white matter 69 ms, muscle 50 ms
#   (Stanisz et al. 2005, doi 10.1002/mrm.20605), fluid 2 s; fat 100 ms, because trains of echoes
#   lengthen its 68 ms; between them where a class lies between.
# - csf and eye fluid as fluid (T1 4 s, T2 2 s), because label maps give the partial volume
#   themselves; muscle with its own T1 of 1.4 s; bone with hardly any signal.
# - Standard deviations are between people, after the error of measurement (which the published
#   ones contain) is taken off: about 4 % of PD, 6 % of R1, 12 % of R2 and R2*, 15 % of MT.
_TYPICAL = {
    "grey matter": (76.84, 0.652, 19.84, 0.779, 10.1),
    "grey/white partial volume": (75.37, 0.788, 23.90, 1.040, 12.0),
    "white matter": (69.79, 0.968, 22.23, 1.500, 14.5),
    "csf": (98.0, 0.25, 1.8, 0.05, 0.5),
    "fat and marrow": (75.0, 2.30, 45.0, 0.30, 10.0),
    "muscle and soft tissue": (68.11, 0.75, 30.0, 0.727, 20.0),
    "skin and vessels": (57.92, 1.035, 50.0, 0.569, 22.0),
    "dura and connective tissue": (49.98, 0.864, 55.69, 0.339, 25.0),
    "bone and air": (12.0, 0.842, 150.0, 0.169, 80.0),
    "eye fluid": (98.0, 0.25, 2.5, 0.05, 0.8),
}
_SPREAD = (0.04, 0.06, 0.12, 0.15, 0.12)

TISSUE_STATISTICS = {
    "background": TissueStatistics((0, 0), (0, 0), (0, 0), (0, 0), (0, 0)),
    **{
        name: TissueStatistics(*((m, m * s) for m, s in zip(means, _SPREAD, strict=True)))
        for name, means in _TYPICAL.items()
    },
}

# Values of lesions were never published as such tables. Chosen here, by these reasons:
# - a chronic cavity is filled with fluid, with strands of scar in it: nearly pure CSF, because a
#   T1 only a tenth shorter would already shine on FLAIR; as dark as CSF on T1w and FLAIR, bright
#   on T2w;
# - an acute infarct (hours to days) holds 3-10 % more water than grey matter, which slows R1 by a
#   fifth, lengthens T2 to some 180 ms and lowers MT: bright on T2w and FLAIR, slightly dark on T1w;
# - gliosis is scar without myelin: R1 and MT a little below grey matter, T2 some 160 ms: bright on
#   FLAIR and T2w, like grey matter on T1w.
LESION_STATISTICS = {
    "cavity": TissueStatistics((96.5, 1.5), (0.256, 0.008), (2.4, 0.5), (0.07, 0.02), (0.8, 0.2)),
    "acute": TissueStatistics((83.0, 2.5), (0.51, 0.04), (12.5, 1.5), (0.50, 0.08), (5.6, 0.5)),
    "gliosis": TissueStatistics((80.0, 2.5), (0.58, 0.04), (13.5, 1.5), (0.62, 0.08), (6.2, 0.5)),
}
