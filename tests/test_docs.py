"""The documentation names everything public, its links lead somewhere, and its code is code."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import imaging
import prognosis
from prognosis.cli import _parser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if path.relative_to(DOCS).parts[0] not in ("reference", "_build")
)
WITH_LINKS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
# Of scikit-learn, Optuna, ...: named on pages and not ours.
THEIRS = {"GridSearchCV", "CalibratedClassifierCV", "StackingClassifier"}


def named(path):
    return path.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=named)


@pytest.fixture(scope="module")
def names():
    """What writes the reference's pages; it needs nothing of Sphinx."""
    spec = importlib.util.spec_from_file_location(
        "public_names", DOCS / "_extensions" / "public_names.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- The reference -------------------------------------------------------------------------------


def entries(text):
    """What a page of the reference lists in its tables."""
    return re.findall(r"^   (\w+)$", text, re.MULTILINE)


def test_every_public_name_is_in_the_reference(names):
    pages = names.pages()
    listed = {}
    for package in names.packages():
        assert f"   {package}\n" in pages["index.rst"]
        text = pages[f"{package}.rst"]
        for name in entries(text):
            assert listed.setdefault(name, package) == package, f"{name} is described twice"
        public = importlib.import_module(package).__all__
        lacking = [name for name in public if not re.search(rf"\b{name}\b", text)]
        assert lacking == [], package
    assert {*prognosis.__all__, *imaging.__all__} <= set(listed)
    for name, package in listed.items():
        assert hasattr(importlib.import_module(package), name), f"{package}.{name}"


def test_a_room_that_no_subject_names_has_a_heading_of_its_own(names, monkeypatch):
    stub = names.listed("prognosis") | {"Carrier": "new_room.carriers", "Ladder": "studies.other"}
    monkeypatch.setattr(names, "listed", lambda package: stub)
    groups = names.grouped("prognosis")
    assert groups["New room"] == ["Carrier"] and groups["Studies"] == ["Ladder"]
    assert sorted(name for group in groups.values() for name in group) == sorted(stub)


def test_an_inner_subject_wins_over_the_outer_one(names):
    groups = names.grouped("prognosis")
    assert "OrdinalClassifier" in groups["Ordered outcomes"]
    assert "OrdinalClassifier" not in groups["Networks on images"]
    assert "MatchedGroups" in groups["Folds and groups"]


# --- Links ---------------------------------------------------------------------------------------


def links(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"\]\(<?([^)>#\s]+)(?:#[^)]*)?\)", text)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def in_lists(path):
    """Pages that a list of pages (toctree) names."""
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines = [line for line in lines if line and line[0] not in ":*("]
    return [re.sub(r".*<(.*)>", r"\1", line) for line in lines]


def is_there(folder, link):
    """Whether a link leads to a file, or to a page that is made when pages are built."""
    target = (folder / link).resolve()
    if DOCS in target.parents:
        first, *_ = target.relative_to(DOCS).parts
        if first == "reference":
            return target.stem == "index"
        if first == "tutorials" and target.suffix == ".ipynb":
            return (ROOT / "notebooks" / target.name).exists()
    return target.exists()


@pytest.mark.parametrize("path", WITH_LINKS, ids=named)
def test_every_link_to_a_file_leads_somewhere(path):
    assert [link for link in links(path) if not is_there(path.parent, link)] == []


@every_page
def test_every_page_is_in_a_list_and_every_list_names_pages(page):
    for name in in_lists(page):
        target = page.parent / f"{name}.md"
        assert target.exists() or is_there(page.parent, f"{name}.md"), name


def test_no_page_is_forgotten():
    listed = {"index"}
    for page in PAGES:
        listed |= {
            (page.parent / name).resolve().relative_to(DOCS).as_posix() for name in in_lists(page)
        }
    # Pages in docs/ itself that no list names are put into the list of how-to pages.
    assert "(others)" in in_text(DOCS / "howto" / "index.md")
    inner = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES}
    assert {name for name in inner if "/" in name} <= listed


def in_text(path):
    return path.read_text(encoding="utf-8")


# --- Code ----------------------------------------------------------------------------------------


def blocks(page, *languages):
    """Fenced code of a page: its first line's number and its text."""
    text = in_text(page)
    fences = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [
        (text[: fence.start()].count("\n") + 2, fence[2])
        for fence in fences
        if fence[1] in languages
    ]


def public():
    return {
        name: getattr(package, name) for package in (imaging, prognosis) for name in package.__all__
    }


def wrong_calls(tree):
    """Calls of public names by parameters that they do not have."""
    known, wrong = public(), []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call, method = node.func, "__init__"
        if isinstance(call, ast.Attribute):  # LesionSegmenter.from_pretrained(...)
            call, method = call.value, call.attr
        if not isinstance(call, ast.Name) or call.id not in known:
            continue
        thing = known[call.id]
        if method != "__init__":
            if not hasattr(thing, method):
                wrong.append(f"{call.id}.{method}")
                continue
            thing = getattr(thing, method)
        parameters = inspect.signature(thing).parameters
        if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            continue
        wrong += [f"{call.id}({one.arg}=)" for one in node.keywords if one.arg not in parameters]
    return wrong


def unknown_imports(tree):
    """Names that a module does not have; of what is not installed here nothing is known."""
    wrong = []
    for node in ast.walk(tree):
        if not isinstance(node, (ast.ImportFrom, ast.Import)):
            continue
        imported = [one.name for one in node.names]
        modules = [node.module] if isinstance(node, ast.ImportFrom) else imported
        for name in modules:
            try:
                module = importlib.import_module(name)
            except ModuleNotFoundError:
                wrong += [name] if name.split(".")[0] in ("imaging", "prognosis") else []
                continue
            if isinstance(node, ast.ImportFrom):
                wrong += [f"{name}.{one}" for one in imported if not hasattr(module, one)]
    return wrong


def check_python(page):
    for line, code in blocks(page, "python"):
        tree = ast.parse(code)
        assert [*unknown_imports(tree), *wrong_calls(tree)] == [], f"{named(page)}, line {line}"


@every_page
def test_code_that_is_not_run_is_right_python_of_names_that_exist(page):
    check_python(page)


def test_wrong_code_would_be_found(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    monkeypatch.setattr(f"{__name__}.named", str)
    for code in (
        "from prognosis import Nothing",
        "import prognosis.nothing",
        "compare(models, X, y, folds=5)",
        "LesionSegmenter.from_trained('x')",
    ):
        page.write_text(f"```python\n{code}\n```\n")
        with pytest.raises(AssertionError):
            check_python(page)
    page.write_text("```python\nx = = 1\n```\n")
    with pytest.raises(SyntaxError):
        check_python(page)


RUN = [page for page in PAGES if blocks(page, "pycon")]


def test_there_is_code_that_runs():
    assert len(RUN) >= 6


@pytest.mark.parametrize("page", RUN, ids=named)
def test_examples_of_a_page_run(page, tmp_path, monkeypatch):
    """In an empty folder; the blocks of a page are run one after the other."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join(code for _, code in blocks(page, "pycon"))
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    examples = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), 0)
    report = []
    failed, tried = doctest.DocTestRunner(optionflags=flags).run(examples, out=report.append)
    assert tried and not failed, "".join(report)


@every_page
def test_commands_are_understood(page):
    extras = tomllib.loads(in_text(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]
    for line, text in blocks(page, "console", "bash", "sh"):
        for command in text.replace("\\\n", " ").splitlines():
            words = shlex.split(command.removeprefix("$ "), comments=True)
            where = f"{named(page)}, line {line}: {command}"
            if words[:1] == ["prognosis"]:
                try:
                    _parser().parse_args(words[1:])
                except SystemExit as stop:
                    assert stop.code in (0, None), where
            elif words[:1] == ["make"]:
                assert re.search(rf"^{words[1]}:", in_text(ROOT / "Makefile"), re.MULTILINE), where
    for extra in re.findall(r"prognosis-mri\[(\w+)\]", in_text(page)):
        assert extra in extras, extra


@every_page
def test_names_in_the_text_exist(page, names):
    """`ClassName`, and `call(with=parameters)`, wherever they stand."""
    text = re.sub(r"```.*?```", "", in_text(page), flags=re.DOTALL)
    known, wrong = {*names.homes(), *THEIRS}, []
    for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text):
        if re.fullmatch(r"[A-Z][a-z]+(?:[A-Z][a-zA-Z]*)+", code) and code not in known:
            wrong.append(code)
        elif re.fullmatch(r"\w+(?:\.\w+)?\(.*\)", code) and "..." not in code:
            wrong += wrong_calls(ast.parse(code))
    assert wrong == []


# --- Figures -------------------------------------------------------------------------------------


def figures(text):
    """Decimals as they are written here: .844, .05."""
    return set(
        re.findall(r"(?<![\w.])\.\d{2,4}\b", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    )


@every_page
def test_figures_were_measured(page):
    """Whatever a page says with decimals stands in benchmarks/RESULTS.md, or rounds what does."""
    measured = figures(in_text(ROOT / "benchmarks" / "RESULTS.md"))
    rounded = {f"{float(one):.2f}".removeprefix("0") for one in measured}
    # Published accuracy of White et al.; a round number in words.
    known = {".854", ".04"}
    assert sorted(figures(in_text(page)) - measured - rounded - known) == []


# --- Around it -----------------------------------------------------------------------------------


def test_the_citation_names_the_version():
    text = in_text(ROOT / "CITATION.cff")
    (version,) = re.findall(r"^version: (\S+)$", text, re.MULTILINE)
    project = tomllib.loads(in_text(ROOT / "pyproject.toml"))["project"]
    assert version == prognosis.__version__ == project["version"]
    (licence,) = re.findall(r"^license: (\S+)$", text, re.MULTILINE)
    assert licence == project["license"]


def test_continuous_integration_builds_the_pages_and_warnings_are_errors():
    assert re.search(r"^make docs$", in_text(ROOT / ".ci" / "run"), re.MULTILINE)
    recipe = re.search(r"^docs:.*\n((?:\t.*\n)+)", in_text(ROOT / "Makefile"), re.MULTILINE)[1]
    assert " -W " in recipe and " -n " in recipe


def test_what_pages_need_is_pinned():
    pinned = {
        line.split("==")[0].lower()
        for line in in_text(ROOT / "constraints.txt").splitlines()
        if "==" in line
    }
    extras = tomllib.loads(in_text(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]
    wanted = {re.match(r"[\w-]+", one)[0].lower() for one in extras["docs"]}
    assert wanted <= pinned
