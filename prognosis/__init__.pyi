from .cohorts.folder import load_cohort
from .cohorts.simulated import make_stroke_cohort
from .cohorts.soop import load_soop
from .features.brain_age import BrainAgeGap
from .features.blocks import BlockEncoder, BlockScaler
from .features.lesion_count import LesionCount
from .features.lesion_kernel import LesionKernel
from .features.lesion_size import LesionSize
from .features.region_load import RegionLoad
from .features.scan_embedding import ScanEmbedding
from .features.to_template import ToTemplate
from .inspection.images import check_images
from .inspection.registrations import check_registrations
from .columns import TabularEncoder, tabular_encoder
from .oddities import numeric_column
from .errors import CohortError, DownloadError, ModelError, PrognosisError
from .estimators.fusion import FusionClassifier, FusionRegressor
from .estimators.ordinal.classifier import OrdinalClassifier
from .estimators.ordinal.regressor import OrdinalFromRegressor
from .estimators.ordinal.scale import predict_exceeding
from .estimators.roi import RoiSymbolClassifier, RoiSymbolRegressor
from .estimators.stitched import StitchedSliceClassifier, StitchedSliceRegressor
from .estimators.volume import VolumeClassifier, VolumeRegressor
from .views.roi import RoiSymbols
from .views.stitched import StitchedSlices
from .views.volume import Volumes
from .evaluation.protocol.comparison import Comparison, compare
from .evaluation.reporting.search_page import search_report
from .studies.ladder import linear_ladder, logistic_ladder, ordinal_ladder
from .studies.matched_groups import LockBoxError, MatchedGroups
from .studies.place import coef_image, coef_table, place_model
from .studies.regions import region_model
from .splits import PatientFolds
from .search.optuna_search import OptunaSearch
from .search.ready import search_space
from .explanation.counterfactuals.counterfactual import counterfactuals
from .explanation.counterfactuals.results import Counterfactuals
from .explanation.selection import RegionSelector
from .symbols import SymbolScaler
from .features.embedding import ImageEmbedding
from .estimators.temperature import TemperatureScaled
from .explanation.attribution.maps import Explanation
from .explanation.attribution.explaining import explain
from .prediction.intervals import WithIntervals
from .saving.archive import load, save, training_cohort
from .saving.cohort import TrainingCohort
