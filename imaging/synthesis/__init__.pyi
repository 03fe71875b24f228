from .acquisition import Acquisition, Blur, Gibbs, LowResolution
from .deformation import Deformation
from .fields import smooth_field, texture, white_noise
from .intensity import BiasField, Gamma, Rescale, ZScore
from .label_maps import FREESURFER_TISSUES, read_label_map, template_label_map
from .lesions import PasteLesions
from .mixture import IntensityMixture
from .noise import RicianNoise
from .occlusion import CoarseDropout, SkullStrip
from .planes import TakePlane
from .recipes import real_chain, synthetic_chain
from .scans import SyntheticScans, Target
from .sources import LabelMapSource
from .steps import Chain, Keep, OneOf, Step
from .tissue_maps import RandomSequence, TissueMaps
