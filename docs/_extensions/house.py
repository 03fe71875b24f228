"""What Sphinx has to be told of this project: where pages come from, links of names, formulas.

Nothing here needs a network: neither when pages are built nor when they are read.
"""

import os
import re
import shutil
from pathlib import Path

import public_names
from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
# Pages in docs/ that stand in a list already.
NAMED = {"index", "results", "papers", "glossary", "more", "changes", "contributing"}
# Files elsewhere in the repository that are pages here.
ALSO_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "results.md",
}


def write_whole(path, text):
    """Write a page, unless it is there already: what has not changed is not built again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def list_others(app, docname, source):
    """Name in the list of how-to pages those that lie in docs/ and that no page names."""
    if docname == "howto/index":
        here = [path for path in Path(app.srcdir).glob("*.md") if path.stem not in NAMED]
        others = "\n".join(f"/{path.stem}" for path in sorted(here))
        source[0] = source[0].replace("(others)\n", f"{others}\n" if others else "")


def list_again(app, env, added, changed, removed):
    """The list of how-to pages is made anew whenever a page came or went."""
    return ["howto/index"] if added or removed else []


def lead_to_pages(app, docname, source):
    """Let links to files of the repository that are pages here, too, lead to these pages."""
    docs = Path(app.srcdir).resolve()
    folder = (docs / docname).parent

    def there(link):
        file = Path(os.path.normpath(folder / link[1]))
        name = file.relative_to(docs.parent).as_posix() if docs.parent in file.parents else ""
        if file.suffix == ".ipynb" and file.parent == docs.parent / "notebooks":
            return f"](/tutorials/{file.name}"
        return f"](/{ALSO_PAGES[name]}" if name in ALSO_PAGES else link[0]

    source[0] = re.sub(r"\]\((\.\./[^)#\s]+)", there, source[0])


def gather(app, config):
    """Write the reference's pages, and copy the notebooks with their committed outputs."""
    docs = Path(app.srcdir)
    pages = public_names.pages()
    for name, text in pages.items():
        write_whole(docs / "reference" / name, text)
    described = {f"{package}.{name}" for name, package in public_names.homes().items()}
    # What is no longer public has no page any more.
    for old in [*(docs / "reference").glob("*.rst"), *(docs / "reference").glob("generated/*.rst")]:
        if old.name not in pages and old.stem not in described:
            old.unlink()
    wanted = {path.name: path for path in sorted((docs.parent / "notebooks").glob("*.ipynb"))}
    for old in list((docs / "tutorials").glob("*.ipynb")):
        if old.name not in wanted:
            old.unlink()
    for name, path in wanted.items():
        copy = docs / "tutorials" / name
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)


class NamesAreLinks(SphinxTransform):
    """`compare`, in a docstring or on a page, leads to where it is described."""

    default_priority = 500

    def apply(self):
        homes = {
            name: package
            for name, package in public_names.homes().items()
            # Small words of a sub-package (``flair``) are columns elsewhere.
            if "." not in package or not name.islower() or f"/{package}." in self.env.docname
        }
        for literal in list(self.document.findall(nodes.literal)):
            said, _, name = literal.astext().removesuffix("()").rpartition(".")
            package = homes.get(name)
            if (
                package is None
                or said not in ("", package, package.split(".")[0])
                or self.env.docname.endswith(f"{package}.{name}")
                or any(isinstance(above, (nodes.reference, pending_xref)) for above in ups(literal))
            ):
                continue
            link = pending_xref(
                "", refdomain="py", reftype="obj", reftarget=f"{package}.{name}", refexplicit=True
            )
            literal.replace_self(link)
            link += literal


def ups(node):
    """What a node stands in, from inside to outside."""
    while node.parent is not None:
        node = node.parent
        yield node


def formula(writer, node, *, as_block=False):
    """A formula as MathML, which browsers draw by themselves."""
    text = node.astext()
    if as_block and "\\\\" in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    try:
        drawn = tex2mathml(text, as_block=as_block)
    except MathError as error:
        LOGGER.warning("a formula cannot be drawn: %s", error, location=node)
        drawn = writer.encode(text)
    writer.body.append(f'<div class="math">{drawn}</div>' if as_block else drawn)
    raise nodes.SkipNode


def block_formula(writer, node):
    """A formula on lines of its own."""
    formula(writer, node, as_block=True)


def only_ours(app, what, name, obj, skip, options):
    """Leave out what classes have from libraries: it is described there."""
    inside = getattr(obj, "fget", obj)
    module = getattr(inside, "__module__", None) or ""
    if isinstance(inside, (staticmethod, classmethod)):
        module = inside.__func__.__module__
    return True if module and not module.startswith(("imaging", "prognosis")) else None


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("config-inited", gather)
    app.connect("env-get-outdated", list_again)
    app.connect("source-read", list_others)
    app.connect("source-read", lead_to_pages)
    app.connect("autodoc-skip-member", only_ours)
    app.add_transform(NamesAreLinks)
    app.add_html_math_renderer("mathml", (formula, None), (block_formula, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
