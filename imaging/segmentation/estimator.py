"""Segmenters in scikit-learn's manner."""

from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from .fitting import fit_network

LESION_CLASSES = ("background", "lesion")
TISSUE_CLASSES = (
    "background",
    "grey matter",
    "grey/white partial volume",
    "white matter",
    "csf",
    "lesion",
)


class _Segmenter(BaseEstimator):
    def __init__(
        self,
        architecture="unet-small",
        *,
        channels=None,
        spatial_dims=3,
        source=None,
        validation_source=None,
        contrast="both",
        ranges="plausible",
        real_share=0.5,
        spacing_mm=1.0,
        patch_size=64,
        patches=2,
        mirror=0.5,
        augment=True,
        ct=False,
        lesion_weight=2.0,
        deep_supervision=False,
        dropout=0.0,
        epochs=100,
        steps_per_epoch=100,
        batch_size=1,
        learning_rate=1e-3,
        weight_decay=1e-2,
        validation_samples=16,
        validation_fraction=0.0,
        precision="auto",
        device="auto",
        n_threads=1,
        checkpoint=None,
        random_state=None,
        verbose=0,
    ):
        self.architecture = architecture
        self.channels = channels
        self.spatial_dims = spatial_dims
        self.source = source
        self.validation_source = validation_source
        self.contrast = contrast
        self.ranges = ranges
        self.real_share = real_share
        self.spacing_mm = spacing_mm
        self.patch_size = patch_size
        self.patches = patches
        self.mirror = mirror
        self.augment = augment
        self.ct = ct
        self.lesion_weight = lesion_weight
        self.deep_supervision = deep_supervision
        self.dropout = dropout
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_samples = validation_samples
        self.validation_fraction = validation_fraction
        self.precision = precision
        self.device = device
        self.n_threads = n_threads
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X=None, y=None):
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.classes_ = self._class_names(X)
        self.network_, self.history_, self.patch_size_ = fit_network(
            self, None, len(self.classes_), seed
        )
        return self


class LesionSegmenter(_Segmenter):
    scores_lesion = True

    def _class_names(self, X):
        return TISSUE_CLASSES
