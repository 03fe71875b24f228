from .gradient_echo import gre, spgr
from .magnetisation_prepared import mp2rage, mp2rage_readouts, mprage
from .maps import QuantitativeMaps
from .protocols import Protocol, sample_protocol
from .simulation import SEQUENCES, simulate
from .spin_echo import flair, flair_signed, fse
from .tissues import (
    LESION_STATISTICS,
    MEASURED_STATISTICS,
    TISSUES,
    TISSUE_STATISTICS,
    TissueStatistics,
)
