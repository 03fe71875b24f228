"""What `ToTemplate` does with one patient: find the transforms, move the images, keep both."""

import functools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from imaging.errors import ImagingError
from imaging.registration.files import load_transform, save_transform
from imaging.registration.quality import FAILED_ABOVE, Quality
from imaging.registration.registering import match_sequences, register
from imaging.registration.template import output_grid
from imaging.registration.transform import Transform
from imaging.storage.caching import Identified, as_memory, cached_call, image_identity
from imaging.storage.code_identity import code_version
from imaging.storage.files import replacing
from imaging.storage.identity import identity
from imaging.volumes import read_mask, write_image

from ..cells import is_missing
from ..errors import CohortError

__all__ = ["Job", "Settled", "checked_name", "file_of", "settled", "transform_stem"]

_WARPED_AT_MM = 2.0  # finer ones gain little and take ten times as long
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Job:
    """What is wanted of every patient, see `ToTemplate`."""

    images: tuple
    reference: str
    lesion: str | None
    labels: tuple | None
    model: object
    segmenter: object
    nonlinear: bool
    spacing_mm: float
    folder: object
    memory: object

    def __post_init__(self):
        names = [self.file("", one).name for one in self.columns]
        if self.folder is not None and len(set(names)) < len(names):
            raise CohortError(
                f"the files of the columns {self.columns} would have the same names; rename a "
                "column"
            )

    @property
    def columns(self):
        """Columns whose images are moved."""
        return [*self.images, *([self.lesion] if self.lesion else [])]

    def file(self, row, column):
        """Where the image of a patient is written."""
        return file_of(self.folder or "", row, column, mask=column == self.lesion)

    def key(self, cells):
        """What the result of a patient hangs on, besides the code."""
        what = (self.images, self.reference, self.lesion, self.labels)
        how = (self.nonlinear, self.spacing_mm, *map(_told, (self.model, self.segmenter)))
        scans = tuple(image_identity(cell) for cell in cells.values())
        return identity((what, how, scans, code_version("imaging")))


@dataclass
class Settled:
    """What became of a patient: transforms and images by column, and how good they are."""

    transforms: dict
    images: dict
    quality: object = None
    warnings: tuple = field(default_factory=tuple)
    error: str | None = None

    @property
    def failed(self):
        return self.error is not None or self.quality.failure > FAILED_ABOVE

    @property
    def why(self):
        if self.error is not None:
            return self.error
        return "; ".join([*self.quality.reasons, *self.warnings]) or "nothing in particular"

    def row(self):
        """Its row in the table of quality."""
        if self.error is not None:
            return {"failed": True, "failure": 1.0, "reasons": self.error}
        reasons = "; ".join([*self.quality.reasons, *self.warnings])
        first = {"failed": self.failed, "failure": self.quality.failure, "reasons": reasons}
        return {**first, **self.quality.numbers}


def checked_name(row):
    """The id of a patient as part of file names.

    Raises
    ------
    CohortError
        If it cannot be that.
    """
    if not _NAME.fullmatch(str(row)):
        raise CohortError(
            f"row {row!r}: files cannot be named after it; use ids of letters, digits, '.', '_' "
            "and '-', as sub-01"
        )
    return str(row)


def file_of(folder, row, column, *, mask=False):
    """Where the image of a patient is written, a name as BIDS derivatives have it.

    Examples
    --------
    >>> file_of("out", "sub-01", "t1w").as_posix()
    'out/sub-01/anat/sub-01_space-MNI152_t1w.nii.gz'
    """
    name = re.sub(r"[^A-Za-z0-9]+", "", column)
    ending = f"label-{name}_mask" if mask else name
    return Path(folder, str(row), "anat", f"{row}_space-MNI152_{ending}.nii.gz")


def transform_stem(folder, row, reference):
    """Folder and beginning of the names of a patient's transform."""
    name = re.sub(r"[^A-Za-z0-9]+", "", reference)
    return Path(folder, str(row), "xfm", f"{row}_from-{name}_to-MNI152")


def settled(job, row, cells, moved):
    """Find, or find again, what became of a patient; nothing that is wrong with it is raised.

    Parameters
    ----------
    job : Job
    row : object
        Id of the patient.
    cells : dict of str to path or nibabel image
        Raw images by column.
    moved : bool
        Whether images are wanted, too.

    Returns
    -------
    Settled
    """
    result = _tried(job, row, cells, moved)
    if result.error is not None and job.folder is not None:
        _forget(job, row)
    return result


def _tried(job, row, cells, moved):
    missing = [name for name, cell in cells.items() if is_missing(cell)]
    if missing:
        return Settled({}, {}, error=f"no image in column {missing[0]!r}")
    try:
        key = job.key(cells) if job.folder is not None else None
        lesion = functools.cache(lambda: _lesion_of(job, cells))  # found once, if it is asked for
        result = _written(job, row, key) if key else None
        if result is None:
            result = _found(job, cells, lesion)
        elif result.failed or result.images or not moved:
            return result
        if moved and not result.failed:
            result.images = _moved(job, result.transforms, cells, lesion())
    except (ImagingError, ValueError, ArithmeticError) as error:  # the others go on
        return Settled({}, {}, error=str(error).splitlines()[0])
    return _kept(job, row, key, result) if key else result


def _found(job, cells, lesion):
    """Transforms and quality of a patient."""
    memory, scan = as_memory(job.memory), cells[job.reference]
    model = Identified(job.model, _told(job.model))
    found = cached_call(memory, _registered)(
        scan, lesion(), job.labels, model, job.nonlinear, max(_WARPED_AT_MM, job.spacing_mm)
    )
    transforms = {job.reference: found.transform}
    for column in job.images:
        if column != job.reference:
            matched = cached_call(memory, _matched)
            transforms[column] = found.transform.after(matched(cells[column], scan, model))
    return Settled(transforms, {}, found.quality, found.warnings)


def _lesion_of(job, cells):
    """The mask of a patient's lesion, or None."""
    if job.segmenter is None:
        return None if job.lesion is None else cells[job.lesion]
    segmented = cached_call(as_memory(job.memory), _segmented)
    return segmented(cells[job.reference], Identified(job.segmenter, _told(job.segmenter)))


def _registered(scan, lesion, labels, model, nonlinear, spacing_mm):
    return register(
        scan,
        lesion=lesion,
        labels=labels,
        model=model.value,
        nonlinear=nonlinear,
        spacing_mm=spacing_mm,
    )


def _matched(other, scan, model):
    return match_sequences(other, scan, model=model.value)


def _segmented(scan, segmenter):
    (mask,) = segmenter.value.predict([scan])
    return mask


def _told(model):
    """What tells one model from another."""
    if model is None:
        return None
    return model.identity() if hasattr(model, "identity") else identity(model)


def _moved(job, transforms, cells, lesion):
    grid = output_grid(job.spacing_mm)
    images = {column: transforms[column].to_template(cells[column], grid) for column in job.images}
    if lesion is not None:
        mask = read_mask(lesion, labels=job.labels)
        mask = nib.Nifti1Image(np.asanyarray(mask.dataobj), mask.affine)
        images[job.lesion] = transforms[job.reference].to_template(mask, grid, interpolation="mask")
    return images


def _record(job, row):
    return Path(job.folder, str(row), f"{row}_registration.json")


def _kept(job, row, key, result):
    """Write what was found; the record last, so that what it tells of is there."""
    path, files = _record(job, row), {}
    path.unlink(missing_ok=True)  # a run that is killed here leaves nothing that is believed
    if result.failed:
        _forget(job, row)
    else:
        save_transform(
            result.transforms[job.reference], transform_stem(job.folder, row, job.reference)
        )
    for column, image in result.images.items():
        files[column] = str(write_image(image, job.file(row, column)))
    before = {column: result.transforms[column].affine.tolist() for column in result.transforms}
    record = {
        "key": key,
        "quality": result.quality.as_dict(),
        "warnings": list(result.warnings),
        "affines": before,
        "images": {column: Path(path).name for column, path in files.items()},
        "about": result.transforms[job.reference].about,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    result.images = files
    return result


def _forget(job, row):
    """Remove what an earlier run wrote of another scan of a patient that failed now."""
    _record(job, row).unlink(missing_ok=True)
    for column in job.columns:
        job.file(row, column).unlink(missing_ok=True)


def _written(job, row, key):
    """What an earlier run wrote of the same images, or None; images where all of them are there."""
    try:
        record = json.loads(_record(job, row).read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        result = Settled({}, {}, _quality(record["quality"]), tuple(record["warnings"]))
        if result.failed:
            return result
        found = load_transform(transform_stem(job.folder, row, job.reference))
        for column, affine in record["affines"].items():
            result.transforms[column] = Transform(affine, found.warp, found.about)
        files = {column: job.file(row, column) for column in job.columns}
        if record["images"] and all(path.is_file() for path in files.values()):
            result.images = {column: str(path) for column, path in files.items()}
        return result
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _quality(about):
    numbers = {name: np.nan if n is None else n for name, n in about["numbers"].items()}
    return Quality(numbers, about["failure"], tuple(about["reasons"]))
