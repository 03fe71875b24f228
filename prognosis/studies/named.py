"""One model by a short name, complete from images and table to the prediction, to be kept and used.

`build_study` assembles many for a comparison, on a table where lesions were measured before; a
model for new patients measures by itself.
"""

from sklearn.pipeline import Pipeline

from ..errors import CohortError
from .ladder import linear_ladder, logistic_ladder, ordinal_ladder
from .place import place_model

__all__ = ["MODELS", "NETWORKS", "named_model"]

NETWORKS = ("stitched", "roi", "volume", "fusion")
MODELS = ("ladder", "place", *NETWORKS)


def named_model(
    name,
    outcome,
    *,
    image=None,
    lesion=None,
    tabular=(),
    atlas="natbrainlab",
    labels=None,
    space="template",
    patient=None,
    memory=None,
    n_jobs=None,
    random_state=0,
    **network,
):
    """Make a model of one of the kinds that the study compares, not fitted.

    Parameters
    ----------
    name : {"ladder", "place", "stitched", "roi", "volume", "fusion"}
        Regression on lesion size and tabular columns; `place_model`, its penalty chosen inside; or
        a network on stitched slices, on regions, on volumes, or fused with the table. Networks see
        lesion size and tabular columns, too.
    outcome : {"binary", "ordinal", "continuous"}
    image : str, default=None
        Column that the networks look at.
    lesion : str, default=None
        Column with lesion masks; "place" needs it.
    tabular : sequence of str, default=()
    atlas : default="natbrainlab"
        Of "place".
    labels, space, patient, memory, n_jobs, random_state
        As for `place_model`.
    **network
        Further parameters of the network.

    Returns
    -------
    estimator

    Raises
    ------
    ValueError
        If there is no such name.
    CohortError
        If the columns that it needs are not named.

    Examples
    --------
    >>> list(named_model("ladder", "binary", lesion="lesion", tabular=["age"]).named_steps)
    ['size', 'encode', 'model']
    >>> named_model("stitched", "binary", image="t1w", tabular=["age"])["model"].tabular
    ['age']
    """
    if name not in MODELS:
        raise ValueError(f"the models are {', '.join(MODELS)}; got {name!r}")
    tabular = list(tabular)
    reading = {"labels": labels, "memory": memory, "n_jobs": n_jobs}
    if name == "place":
        if lesion is None:
            raise CohortError("the model 'place' needs a column of lesion masks")
        return place_model(
            lesion,
            tabular=tabular,
            atlas=atlas,
            outcome=outcome,
            penalty="auto",
            patient=patient,
            space=space,
            random_state=random_state,
            **reading,
        )
    columns = tabular if lesion is None else ["lesion_ml", *tabular]
    if name == "ladder":
        model = _rung(columns, outcome)
    else:
        if image is None:
            raise CohortError(f"the model {name!r} needs a column of images")
        network |= {"patient": patient, "memory": memory, "random_state": random_state}
        if name != "fusion":  # whose view is stitched slices as they come
            network |= {"allow_empty": image == lesion, "space": space}
        model = Pipeline([("model", _network(name, outcome, image, columns, network))])
    if lesion is None:
        return model
    from ..features.lesion_size import LesionSize

    return Pipeline([("size", LesionSize(lesion, **reading)), *model.steps])


def _rung(columns, outcome):
    if not columns:
        raise CohortError("the model 'ladder' needs tabular columns, or a column of lesion masks")
    ladders = {"binary": logistic_ladder, "ordinal": ordinal_ladder, "continuous": linear_ladder}
    (model,) = ladders[outcome]([columns]).values()
    return model


def _network(name, outcome, image, columns, network):
    from ..estimators import fusion, roi, stitched, volume

    module = {"stitched": stitched, "roi": roi, "volume": volume, "fusion": fusion}[name]
    begin = {"stitched": "StitchedSlice", "roi": "RoiSymbol"}.get(name, name.capitalize())
    kind = getattr(module, begin + ("Regressor" if outcome == "continuous" else "Classifier"))
    if outcome == "ordinal":
        network["ordinal"] = True
    return kind(image, tabular=columns or None, **network)
