"""One wording for the fitted attributes that image estimators share.

`documented` puts these texts into a class docstring where it says ``{fitted}`` and so on.
"""

import inspect

__all__ = ["documented"]

_BLOCKS = {
    "search": """
        `search_space` has a space of it ready for `OptunaSearch`: learning rate, weight decay,
        dropout, epochs, augmentation.
    """,
    "classes": """
        classes_ : ndarray of shape (n_classes,)
    """,
    "scaling": """
        target_mean_, target_scale_ : float
            Mean and standard deviation of the outcome in training; networks predict the scaled one.
    """,
    "canvas": """
        mosaic_ : SliceMosaic or RoiMosaic
            The layout of the brain's picture, to put saliency maps back into the brain.
        cells_ : dict of str to (slice, slice)
            Where everything lies in the picture, for `imaging.show_canvas`.
        scaler_ : SymbolScaler
            Where there are symbols.
        symbol_rows_ : int
            Rows of pixels below the brain that hold symbols.
    """,
    "reader": """
        reader_ : imaging.learning.reading.Reader
            What learnt to read drawn canvases, and how well it does; with `pretrain`.
    """,
    "fitted": """
        view_ : View
            What the networks see of the images, fitted.
        grid_ : Grid
            Of the training images.
        networks_ : list of torch.nn.Module
            One per seed, on the CPU.
        history_ : list of list of dict
            Losses per network and epoch.
        image_shape_ : tuple
            Channels and pixels of what the network sees.
        image_columns_ : list of str
            Image columns, in the order of the channels.
        outcome_name_ : object
            Name of the outcome, where it was a Series that had one; else None.
        start_ : estimator
            `start`, fitted on all training patients; where there is one.
        encoder_ : TabularEncoder
            Where there are tabular columns.
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
