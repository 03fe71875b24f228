from .atlases import Atlas, atlas_names, load_atlas, region_load
from .cubes import cube_image, cube_shares
from .denoising import Denoiser, noise_sd
from .errors import (
    AtlasError,
    ImageError,
    ImagingError,
    TimingError,
    UnitError,
    UnitWarning,
)
from .intensity import rescale_intensity
from .metrics import (
    count_lesions,
    dice,
    hausdorff95_mm,
    lesion_count_difference,
    lesion_f1,
    psnr,
    segmentation_scores,
    volume_difference_ml,
)
from .mosaics import SliceMosaic
from .roi_mosaics import LANGUAGE_REGIONS, RoiMosaic
from .resizing import shrink_volume
from .spaces.checking import check_space
from .spaces.verdicts import SpaceVerdict
from .symbols import Symbol, draw_symbols, show_canvas, symbol_cells
from .pretraining import HeadShapeEncoder, SequenceInvariantEncoder
from .physics import (
    Protocol,
    QuantitativeMaps,
    sample_protocol,
    simulate,
)
from .registration import CoordinateModel, HeadCoordinates, Transform, register
from .segmentation import LesionSegmenter, TissueSegmenter
from .synthesis import LabelMapSource, SyntheticScans, synthetic_chain
from .storage.models import ModelFileError
from .storage.upkeep.cache_folder import CacheFolder
from .grids import Grid, open_image, same_grid
from .volumes import (
    is_picture,
    read_mask,
    read_picture,
    read_volume,
    restore_grid,
    to_grid,
    to_spacing,
    voxel_volume_ml,
    write_image,
)
from .voxelwise import Task, VoxelwiseModel
