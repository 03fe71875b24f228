"""Every public name, from the lists that the packages themselves import by: their stubs.

The pages of the reference are written from these lists, so that no name can be missing.
"""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Where to look for what, by the module that a name comes from; rooms not named here follow.
SUBJECTS = {
    "prognosis": {
        "Cohorts": ["cohorts"],
        "A look at the images first": ["inspection"],
        "Columns computed from images": ["features"],
        "Columns of the table": ["columns", "symbols"],
        "Networks on images": ["estimators"],
        "Plain models": ["studies.ladder", "studies.place", "studies.regions"],
        "Ordered outcomes": ["estimators.ordinal"],
        "Comparing": ["evaluation"],
        "Folds and groups": ["splits", "studies.matched_groups"],
        "Searching parameters": ["search"],
        "Explaining": ["explanation"],
        "What a network sees": ["views"],
        "Errors": ["errors"],
    },
    "imaging": {
        "Reading, grids and writing": ["volumes", "grids", "intensity", "resizing"],
        "Template space": ["spaces", "registration"],
        "Atlases and cubes": ["atlases", "cubes"],
        "Pictures for networks": ["mosaics", "roi_mosaics", "symbols"],
        "Scores of masks and images": ["metrics"],
        "Segmentation": ["segmentation"],
        "Noise": ["denoising"],
        "Other models from voxels to voxels": ["voxelwise"],
        "Synthetic scans": ["synthesis"],
        "MRI physics": ["physics"],
        "Encoders": ["pretraining"],
        "Errors": ["errors", "storage"],
    },
}
TITLES = {
    "prognosis": "prognosis: patients",
    "imaging": "imaging: voxels",
    "imaging.atlases": "imaging.atlases: regions of the brain",
    "imaging.denoising": "imaging.denoising: noise of scans",
    "imaging.physics": "imaging.physics: signals of MRI sequences",
    "imaging.pretraining": "imaging.pretraining: encoders",
    "imaging.registration": "imaging.registration: to the template and back",
    "imaging.segmentation": "imaging.segmentation: lesions and tissues",
    "imaging.synthesis": "imaging.synthesis: steps of synthetic scans",
    "imaging.voxelwise": "imaging.voxelwise: from voxels to voxels",
}


def packages():
    """Names of the packages that have a list, the general ones first."""
    stubs = [stub for top in SUBJECTS for stub in (ROOT / top).rglob("__init__.pyi")]
    names = [".".join(stub.parent.relative_to(ROOT).parts) for stub in stubs]
    return sorted(names, key=lambda name: (name.count("."), name != "prognosis", name))


def listed(package):
    """Public names of a package: name to the module, within the package, that holds it."""
    stub = ROOT.joinpath(*package.split(".")) / "__init__.pyi"
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@functools.cache
def homes():
    """Every public name to the one package under which it is described, as `name: package`.

    A name that two packages hand out is described under the more general one.
    """
    found = {}
    for package in packages():
        for name in listed(package):
            found.setdefault((package.split(".")[0], name), package)
    assert len({name for _, name in found}) == len(found), "prognosis and imaging share a name"
    return {name: package for (_, name), package in found.items()}


def grouped(package):
    """Public names of a package by subject: title to names in the order of the list."""
    subjects = SUBJECTS.get(package, {})
    groups = {title: [] for title in subjects}
    for name, module in listed(package).items():
        # The longest room that a subject names wins: "estimators.ordinal" before "estimators".
        fitting = [
            (len(room), title)
            for title, rooms in subjects.items()
            for room in rooms
            if f"{module}.".startswith(f"{room}.")
        ]
        room = module.split(".")[0].replace("_", " ").capitalize()
        title = max(fitting)[1] if fitting else (room if subjects else "")
        groups.setdefault(title, []).append(name)
    return {title: names for title, names in groups.items() if names}


def page(package):
    """The text of a package's page in the reference."""
    home = homes()
    title = TITLES.get(package, package)
    lines = [title, "=" * len(title), "", f".. currentmodule:: {package}", ""]
    for subject, names in grouped(package).items():
        if subject:
            lines += [subject, "-" * len(subject), ""]
        here = [name for name in names if home[name] == package]
        lines += [".. autosummary::", "   :toctree: generated", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in here] if here else []
        lines = lines if here else lines[:-4]
        above = [name for name in names if home[name] != package]
        if above:
            links = ", ".join(f":py:obj:`{name} <{home[name]}.{name}>`" for name in above)
            lines += ["", f"Also here: {links}.", ""]
        lines += [""]
    return "\n".join(lines)


def index():
    """The text of the reference's first page."""
    lines = [
        "Reference",
        "=========",
        "",
        "Everything that ``prognosis`` and ``imaging`` hand out. ``prognosis`` knows patients and",
        "asks ``imaging``, which knows voxels. Every example here is run by the tests.",
        "",
        ".. toctree::",
        "   :maxdepth: 2",
        "",
    ]
    return "\n".join([*lines, *(f"   {package}" for package in packages()), ""])


def pages():
    """File name to text, for all pages of the reference."""
    return {"index.rst": index()} | {f"{name}.rst": page(name) for name in packages()}
