"""One wording for the parameters that both segmenters share."""

__all__ = ["PARAMETERS"]

PARAMETERS = """\
architecture : str, default="unet-small"
        "unet", "mde", "mded" (large-kernel attention), "dynunet", "swinunetr"; with "-small"
        appended, at a size that trains on a processor. See `build_segmenter`.
    channels : tuple of int, default=None
        Of every level of the network; None takes the architecture's.
    initial_weights : str or path, default=None
        A trained model, by name or file, whose weights the training begins with instead of random
        ones; layers of another shape (other classes) begin anew. `load` and `from_pretrained` fill
        it in, so that `fit` goes on learning from there, in cross-validation too.
    spatial_dims : {3, 2}, default=3
        2 segments pictures: NIfTI files of one slice, arrays, PNG files.
    source : LabelMapSource or other Step, default=None
        Where synthetic scans come from. None embeds a head and lesions, and is used only where
        there are no real scans.
    validation_source : LabelMapSource or other Step, default=None
        For the synthetic scans of the validation set: other heads and lesions. None takes new
        samples of `source`.
    contrast : {"both", "mixture", "physics"}, default="both"
        Of synthetic scans: a random intensity for each tissue, a random protocol of a random
        sequence, or either.
    ranges : {"plausible", "reference", "reference-segmentation"}, default="plausible"
        Of protocols, see `sample_protocol`.
    real_share : float, default=0.5
        Of real scans among the samples, where both are given.
    spacing_mm : float, default=1
        Edge of the voxels that the network sees; every scan is resized to it.
    patch_size : int or sequence of int, default=64
        Voxels of a training sample and of a window afterwards.
    patches : int, default=1
        Cut from each scan that was made or read, the first through its lesion.
    mirror : float or sequence of float, default=0.5
        Chance to mirror each axis (left-right, back-front, bottom-top) of a training scan.
    augment : bool, default=True
        Also vary the geometry, grey scale and noise of real training scans.
    ct : bool, default=False
        Clip scans to 0-80 Hounsfield units.
    lesion_weight : float, default=2
        Of the lesion in the loss, over that of every other class.
    tversky : float, default=0
        Weight of a further Tversky loss of the lesion, which forgives invented voxels sooner than
        missed ones. See `SegmentationLoss`.
    warm_start_steps : int, default=0
        First steps, in which the loss is the squared distance of the logits from +5 or -5.
    deep_supervision : bool, default=False
        Also score the coarser stages of the network in training.
    dropout : float, default=0
        Needed for `predict_uncertainty`.
    epochs, steps_per_epoch : int, default=100
    batch_size : int, default=2
        Scans of a step.
    learning_rate : float, default=1e-3
        Of AdamW, with one epoch of warm-up, then a cosine schedule over `epochs`.
    weight_decay : float, default=1e-2
    validation_samples : int, default=16
        Synthetic scans, made once, on which the Dice of every epoch is measured; the network of
        the best epoch is kept. 0 for none.
    validation_fraction : float, default=0
        Of the real scans, set aside for the same purpose.
    overlap : float, default=0.5
        Of neighbouring windows, which are averaged with Gaussian weights.
    test_time_flips : bool or sequence of int, default=False
        Average over mirrored copies of a scan: True for all axes that training mirrored (8 copies
        for three axes), or the axes.
    precision : {"auto", "float32", "bf16"}, default="auto"
        Of training; masks are always made in float32. "auto" takes bfloat16 where the hardware has
        it (3-D networks on GPUs only).
    device : str, default="auto"
        "auto" uses a GPU when there is one.
    n_threads : int, default=1
        CPU threads.
    checkpoint : path, default=None
        Folder that keeps the state of the training. Killed at any moment, the next `fit` goes on
        after the last whole epoch, to the same result as without the break.
    random_state : int, RandomState instance or None, default=None
    verbose : int, default=0
        1 shows a progress bar on stderr."""
