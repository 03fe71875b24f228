"""The plan of the house: which room may import from which, and how large rooms may grow."""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From low to high, as in the plan; a module imports from its own floor or from lower ones.
FLOORS = {
    "imaging": [
        "errors",
        "grids parameters randomness",
        "storage",
        "volumes",
        "spaces",
        "intensity resizing cubes mosaics atlases metrics overlay sections symbols roi_mosaics",
        "physics",
        "synthesis",
        "nets",
        "learning",
        "voxelwise",
        "segmentation",
        "registration",
        "pretraining",
    ],
    "prognosis": [
        "errors pages provenance scaling workers",
        "cells",
        "oddities",
        "columns",
        "spaces",
        "grouping splits",
        "symbols",
        "cohorts",
        "views",
        "estimators",
        "features",
        "search",
        "saving",
        "inspection",
        "evaluation",
        "studies",
        "explanation",
        "prediction",
        "commands",
        "cli",
    ],
}
WITHIN_EVALUATION = ["statistics", "reporting", "protocol"]
MOST_ROOMS, MOST_LINES, MEDIAN_LINES = 14, 450, 160
LARGER = {"imaging/synthesis"}  # folders with more rooms


def sources(*packages):
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sources("imaging", "prognosis")}


def public_names(package):
    """What the package hands out lazily: name to module, from its stub."""
    tree = ast.parse((ROOT / package / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"{package}.{node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


PUBLIC = {package: public_names(package) for package in FLOORS}


def imported(path, *, nested):
    """Modules of both packages that a file imports; `nested`: also inside of functions."""
    here = name_of(path)
    package = here if path.name == "__init__.py" else here.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree) if nested else at_import(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0]
                base = f"{above}.{base}" if base else above
            for alias in node.names:
                name = PUBLIC.get(base, {}).get(alias.name, f"{base}.{alias.name}")
                found.add(name if name in MODULES else base)
    return {name for name in found if name in MODULES and name != here}


def at_import(tree):
    """Nodes that run when a module is imported: all but those inside of functions."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from at_import(node)


def floor(name):
    """Package and number of the floor of a module; None for the package itself."""
    package, _, rest = name.partition(".")
    room = rest.split(".")[0]
    found = [n for n, rooms in enumerate(FLOORS[package]) if room in rooms.split()]
    return package, found[0] if found else None


def test_every_room_has_its_floor():
    assert not [name for name in MODULES if "." in name and floor(name)[1] is None]


def test_the_parser_sees_what_it_should(tmp_path):
    found = imported(MODULES["prognosis.evaluation.protocol.comparison"], nested=False)
    assert {"prognosis.columns", "prognosis.evaluation.protocol.inputs"} <= found
    assert "prognosis.splits" in found
    found = imported(MODULES["prognosis.evaluation.protocol.results"], nested=True)
    assert "prognosis.evaluation.reporting.summary" in found  # inside of a method
    found = imported(MODULES["prognosis.evaluation.protocol.results"], nested=False)
    assert "prognosis.evaluation.reporting.summary" not in found


def arrows():
    """All pairs (module, what it imports), inside of functions too."""
    return [
        (name, other)
        for name, path in MODULES.items()
        for other in sorted(imported(path, nested=True))
    ]


def test_imaging_knows_nothing_of_prognosis():
    wrong = [pair for pair in arrows() if pair[0].startswith("imaging")]
    assert not [pair for pair in wrong if pair[1].startswith("prognosis")]


def test_imports_go_from_high_rooms_to_low_ones():
    wrong = []
    for pair in arrows():
        (package, height), (other, depth) = map(floor, pair)
        if package == other and None not in (height, depth) and depth > height:
            wrong.append(" -> ".join(pair))
    assert not wrong


def test_imports_within_evaluation():
    wrong, inside = [], "prognosis.evaluation."
    for pair in arrows():
        rooms = [name.split(".")[2] for name in pair if name.startswith(inside)]
        if len(rooms) == 2:
            height, depth = map(WITHIN_EVALUATION.index, rooms)
            if depth > height:
                wrong.append(" -> ".join(pair))
    assert not wrong


def test_no_circle_of_imports():
    graph = {name: imported(path, nested=False) for name, path in MODULES.items()}
    done = set()

    def visit(name, way):
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                visit(other, [*way, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_folders_are_small():
    counts = {}
    for path in sources("imaging", "prognosis"):
        folder = path.parent.relative_to(ROOT).as_posix()
        counts[folder] = counts.get(folder, 0) + 1
    assert not {
        folder: n for folder, n in counts.items() if n > MOST_ROOMS and folder not in LARGER
    }


@pytest.fixture(scope="module")
def lengths():
    return {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources("imaging", "prognosis", "tests", "benchmarks")
    }


def test_files_are_short(lengths):
    assert not {name: n for name, n in lengths.items() if n > MOST_LINES}
    ours = [n for name, n in lengths.items() if name.startswith(("imaging/", "prognosis/"))]
    assert statistics.median(ours) <= MEDIAN_LINES
