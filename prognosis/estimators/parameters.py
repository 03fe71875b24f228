"""The parameters of every image estimator, each in one place: what it is, may be, and means.

Those with ``training=True`` are handed to the training engine by their names.
"""

import os
from numbers import Integral

from sklearn.utils._param_validation import HasMethods

from imaging.nets import ARCHITECTURES
from imaging.parameters import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    StrOptions,
    parameter,
    parameters,
)

__all__ = ["ImageParameters"]


@parameters
class ImageParameters:
    """What image estimators see and how they are trained, but for the view they hold."""

    image: str | list | None = parameter(
        None,
        str,
        list,
        tuple,
        None,
        first=True,
        kind="str, list of str or None",
        doc="""
        Column of `X` that holds the scans: paths of NIfTI files or nibabel images, 3-D, all on
        the same grid (or see `grid`). Several columns (a scan and a lesion mask, say) become
        channels. None: no image; then the network sees the declared tabular columns, or, with
        none declared, all of a numeric `X`.
        """,
    )
    tabular: list | None = parameter(
        None,
        "array-like",
        None,
        kind="list of str",
        doc="""
        Columns whose values join the image features before the last layer; they are imputed,
        encoded and scaled inside `fit` (see `prognosis.TabularEncoder`). The last layer starts
        from a logistic (or ridge) regression on them, so the image has to add to what they say
        already.
        """,
    )
    start: object = parameter(
        None,
        HasMethods(["fit", "predict"]),
        None,
        kind="estimator or None",
        doc="""
        Unfitted model of the same outcome, such as `place_model`, from which the networks start:
        they learn what to add to it (in log odds, or units of the outcome) from nothing, and the
        mean of that over the training patients is taken off. In training each patient has what the
        model says when it is fitted without him (five folds, rows of a patient together); at
        prediction it is fitted on all training patients. It gets all of `X`; give it a `memory` if
        it measures images. `tabular` then starts from nothing, too.
        """,
    )
    start_penalty: float = parameter(
        1.0,
        NOT_NEGATIVE,
        doc="""
        Of what networks add to `start`: half of it times the squared shift joins the loss of each
        patient, so that the image has to show something before a prediction moves.
        """,
    )
    architecture: object = parameter(
        "lightweight",
        StrOptions(set(ARCHITECTURES)),
        callable,
        kind="{" + ", ".join(f'"{name}"' for name in ARCHITECTURES) + "} or callable",
        doc="""
        Trained from scratch. A callable gets the spatial shape and the number of channels and
        returns an encoder, pretrained for instance: see `imaging.nets.encoders`.
        """,
    )
    initial_weights: object = parameter(
        None,
        str,
        os.PathLike,
        HasMethods("transform"),
        None,
        kind="str, path, SequenceInvariantEncoder or None",
        doc="""
        A pretrained encoder in place of `architecture`: a file or name, or itself (``clone``
        forgets what it learnt, unless it was loaded or is in a `sklearn.frozen.FrozenEstimator`).
        It sees the first column of `image`, a scan, standardised as it was in its pretraining; give
        the view its `spacing_mm`. Further columns, such as a lesion mask, go beside its features,
        shrunk to a coarse grid.
        """,
    )
    freeze: bool | int = parameter(
        True,
        "boolean",
        COUNT,
        kind="bool or int",
        doc="""
        What was learnt before, as `initial_weights` or by `pretrain`, stays as it is, dropout and
        statistics too, and patients train the rest (after `pretrain` the output layer only, held
        back by `start_penalty`): True throughout, a number for so many epochs. False trains all
        layers on, which a few hundred patients are too few for.
        """,
    )
    patient: str | None = parameter(
        None,
        str,
        None,
        kind="str",
        doc="""
        Column that names the patient, when a patient has several rows; the inner split then
        keeps them together, and so do all folds that this package makes around it. See
        `PatientFolds` for folds of your own.
        """,
    )
    epochs: int = parameter(
        25, COUNT, training=True, doc="How often every training patient is seen."
    )
    batch_size: int = parameter(16, COUNT, training=True, doc="Patients in one training step.")
    learning_rate: float = parameter(
        1e-3,
        POSITIVE,
        training=True,
        doc="Of AdamW, with one epoch of warm-up, then a cosine schedule over `epochs`.",
    )
    weight_decay: float = parameter(1e-2, NOT_NEGATIVE, training=True, doc="Of AdamW.")
    dropout: float = parameter(0.5, SHARE, doc="Before and after the hidden layer.")
    augment: bool = parameter(
        True, "boolean", doc="Turn, shift, scale and brighten training images a little at random."
    )
    validation_fraction: float = parameter(
        0.0,
        SHARE,
        doc="""
        Fraction of the training patients set aside to keep the network of the best epoch and to
        stop early; refused where that leaves no patient of some class. 0 trains on everybody for
        all epochs, which suits small cohorts.
        """,
    )
    patience: int | None = parameter(
        None,
        COUNT,
        None,
        kind="int",
        training=True,
        doc="Epochs without improvement before training stops; needs `validation_fraction`.",
    )
    n_seeds: int = parameter(
        1, COUNT, doc="Networks trained from different seeds, whose predictions are averaged."
    )
    n_jobs: int | None = parameter(
        None,
        Integral,
        None,
        kind="int",
        doc="Threads that read images, and processes that train seeds.",
    )
    n_threads: int = parameter(
        1,
        COUNT,
        training=True,
        doc="""
        CPU threads of one training. Fixed, so that results do not depend on `n_jobs`; run folds
        in parallel before you raise it.
        """,
    )
    precision: str = parameter(
        "auto",
        StrOptions({"auto", "float32", "bf16"}),
        kind='{"auto", "float32", "bf16"}',
        training=True,
        doc="""
        "auto" trains in bfloat16 where the hardware has it (3-D networks on GPUs only, since it
        gives wrong values on processors, where "bf16" is refused for them); predictions are
        always float32.
        """,
    )
    device: str = parameter(
        "auto",
        str,
        training=True,
        doc='"auto" uses a GPU when there is one. A model fitted there unpickles anywhere.',
    )
    memory: object = parameter(
        None,
        kind="None, str or joblib.Memory",
        doc="""
        Folder that keeps the prepared images, so that the next `fit` need not read the scans.
        They belong to the content of the scans, not to their names or times. Within `compare`
        they are shared by all folds and models without it. How large the folder may grow,
        `imaging.CacheFolder` and ``prognosis cache`` say.
        """,
    )
    memory_limit_mb: float = parameter(
        4096,
        NOT_NEGATIVE,
        doc="""
        Prepared images of one `fit` (or prediction) that take more megabytes than this are not
        held in memory: they stay in files, in `memory` or in a temporary folder, and batches are
        read from there. Results are the same.
        """,
    )
    random_state: object = parameter(
        None,
        "random_state",
        kind="int, RandomState instance or None",
        doc="Of weights, batches, augmentation, dropout and the inner split.",
    )
    verbose: int = parameter(0, "verbose", training=True, doc="1 shows a progress bar on stderr.")
