"""One wording for the parameters that all image estimators share.

`documented` puts these texts into a class docstring where it says ``{training}`` and so on.
"""

import inspect

__all__ = ["documented"]

_BLOCKS = {
    "tabular": """
        tabular : list of str, default=None
            Columns whose values join the image features before the last layer; they are imputed,
            encoded and scaled inside `fit` (see `prognosis.TabularEncoder`). The last
            layer starts from a logistic (or ridge) regression on them, so the image has to add
            to what they say already.
    """,
    "image": """
        image : str, list of str or None, default=None
            Column of `X` that holds the scans: paths of NIfTI files or nibabel images, 3-D, all on
            the same grid (or see `grid`). Several columns (a scan and a lesion mask, say) become
            channels. None: no image; then the network sees the declared tabular columns, or, with
            none declared, all of a numeric `X`.
    """,
    "fused": """
        tabular : list of str, default=None
            Columns whose values meet the image inside the network; they are imputed, encoded and
            scaled inside `fit` (see `prognosis.TabularEncoder`).
        branch : {"stitched", "roi", "volume"}, default="stitched"
            What the network sees of the image: stitched slices, packed regions or the volume. Each
            heeds its own parameters of those below, as in `StitchedSliceClassifier`,
            `RoiSymbolClassifier` and `VolumeClassifier`.
        fusion : {"early", "daft"}, default="early"
            "early" puts image features and tabular values side by side before a hidden layer;
            "daft" lets the tabular values scale and shift the feature maps.
    """,
    "slices": """
        rows, columns : int, default=4
            Tiles of the mosaic, for each plane. Ignored for 2-D pictures, as are `first_slice`,
            `plane` and `slice_step`.
        first_slice : int, default=None
            In voxels of the canonical (RAS+) image; None spreads or centres the slices (see
            `imaging.SliceMosaic`).
    """,
    "atlas": """
        atlas : str, path, nilearn Bunch or imaging.Atlas, default="aal"
            See `imaging.load_atlas`; scans must be in its space.
        regions : list of str or int, default=8
            Regions to show, each in its own cell; a number takes the first so many of
            `imaging.LANGUAGE_REGIONS`. Choosing regions by looking at the outcome belongs inside
            the fold.
    """,
    "canvas": """
        plane : {"axial", "coronal", "sagittal"} or tuple of these, default="axial"
            Several planes are for stitched slices only.
        slice_step : int, default=None
            In voxels. None spreads stitched slices evenly, and shows regions in all slices.
        mosaic_size : int, (height, width) or None, default=128
            Pixels of the picture of the brain; a 2-D picture is resized to fit into it.
        symbols : list of str, dict of str to str, or None, default=None
            Columns drawn as symbols below the brain, with the look of each if it is a dict (see
            `SymbolScaler`); they are scaled inside `fit`, and apart from the brain.
        symbol_limits : dict of str to (low, high), default=None
            Ends of the scales of continuous symbols, in units of the column.
        symbol_size : int, default=None
            Pixels of a symbol's cell. None: as large as one cell of the last feature maps of the
            network, and at least 24; smaller symbols share a cell with what is beside them, as
            small regions do, which a warning names.
    """,
    "volume": """
        spacing_mm : float, default=4
            Edge of the voxels that the network sees: scans shrink to it by averages, and are never
            enlarged.
    """,
    "branch": """
        grid : None, "mni152", path, nibabel image or Grid, default=None
            Resample every scan to the voxels of this image first, through world coordinates (it
            does not register). None requires that all scans have one grid already. "mni152" is the
            template inside nilearn at 2 mm.
        allow_empty : bool, default=False
            Accept volumes that are zero everywhere: set it for lesion masks, not for scans.
        architecture : {"lightweight", "resnet10", "resnet18", "resnet34", "resnet50", \
"resnet101"} or callable, default="lightweight"
            Trained from scratch. A callable gets the spatial shape and the number of channels and
            returns an encoder: a torch module with `n_features`, pretrained for instance.
        flip_left_right : bool, default=False
            Also mirror training images. Off, since after a stroke the side matters.
    """,
    "branch_fitted": """
        grid_ : Grid
            Of the training images.
    """,
    "canvas_fitted": """
        grid_ : Grid
            Of the training images.
        mosaic_ : SliceMosaic or RoiMosaic
            The layout of the brain's picture, to put saliency maps back into the brain.
        cells_ : dict of str to (slice, slice)
            Where everything lies in the picture, for `imaging.show_canvas`.
        scaler_ : SymbolScaler
            Where there are symbols.
        symbol_rows_ : int
            Rows of pixels below the brain that hold symbols.
    """,
    "training": """
        patient : str, default=None
            Column that names the patient, when a patient has several rows; the inner split then
            keeps them together, and so do all folds that this package makes around it. See
            `PatientFolds` for folds of your own.
        epochs : int, default=25
        batch_size : int, default=16
        learning_rate : float, default=1e-3
            Of AdamW, with one epoch of warm-up, then a cosine schedule over `epochs`.
        weight_decay : float, default=1e-2
        dropout : float, default=0.5
            Before and after the hidden layer.
        augment : bool, default=True
            Turn, shift, scale and brighten training images a little at random.
        validation_fraction : float, default=0
            Fraction of the training patients set aside to keep the network of the best epoch and
            to stop early; refused where that leaves no patient of some class. 0 trains on everybody
            for all epochs, which suits small cohorts.
        patience : int, default=None
            Epochs without improvement before training stops; needs `validation_fraction`.
        n_seeds : int, default=1
            Networks trained from different seeds, whose predictions are averaged.
        n_jobs : int, default=None
            Threads that read images, and processes that train seeds.
        n_threads : int, default=1
            CPU threads of one training. Fixed, so that results do not depend on `n_jobs`; run
            folds in parallel before you raise it.
        precision : {"auto", "float32", "bf16"}, default="auto"
            "auto" trains in bfloat16 where the hardware has it (3-D networks on GPUs only, since
            it gives wrong values on processors, where "bf16" is refused for them); predictions are
            always float32.
        device : str, default="auto"
            "auto" uses a GPU when there is one. A model fitted there unpickles anywhere.
        memory : None, str or joblib.Memory, default=None
            Folder that keeps the prepared images, so that the next `fit` need not read the scans.
            They belong to the content of the scans, not to their names or times. Within `compare`
            they are shared by all folds and models without it.
        memory_limit_mb : float, default=4096
            Prepared images of one `fit` (or prediction) that take more megabytes than this are not
            held in memory: they stay in files, in `memory` or in a temporary folder, and batches
            are read from there. Results are the same.
        random_state : int, RandomState instance or None, default=None
        verbose : int, default=0
            1 shows a progress bar on stderr.
    """,
    "class_weight": """
        class_weight : dict, "balanced" or None, default=None
            Weights of the classes in the loss. "balanced" helps the rarer class; probabilities
            are then no longer those of the cohort.
    """,
    "fitted": """
        networks_ : list of torch.nn.Module
            One per seed, on the CPU.
        history_ : list of list of dict
            Losses per network and epoch.
        image_shape_ : tuple
            Channels and pixels of what the network sees.
        n_features_in_ : int
        feature_names_in_ : ndarray of str
            Columns of `X`; only the declared ones matter, in any order.
    """,
}


def documented(cls):
    """Class decorator: fill the ``{name}`` lines of the docstring with the shared texts."""
    lines = []
    for line in inspect.cleandoc(cls.__doc__).splitlines():
        name = line.strip()[1:-1] if line.strip().startswith("{") else None
        lines += inspect.cleandoc(_BLOCKS[name]).splitlines() if name in _BLOCKS else [line]
    cls.__doc__ = "\n".join(lines)
    return cls
