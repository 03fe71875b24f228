from .errors import AtlasError, ImageError, ImagingError
from .physics import (
    Protocol,
    QuantitativeMaps,
    TimingError,
    UnitError,
    UnitWarning,
    sample_protocol,
    simulate,
)
from .synthesis import LabelMapSource, SyntheticScans, synthetic_chain
from .volumes import (
    is_picture,
    open_image,
    read_mask,
    read_picture,
    read_volume,
    restore_grid,
    same_grid,
    to_grid,
    voxel_volume_ml,
    write_image,
)
