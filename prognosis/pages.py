"""Pages of HTML from a room's own templates: reports of comparisons and searches, check sheets."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["render_page"]


def render_page(room, template, **values):
    """A page as text; whatever is put into it is escaped, and nothing may be missing.

    Parameters
    ----------
    room : str or os.PathLike
        The module (its ``__file__``) in whose folder ``templates`` lies.
    template : str
        File name.
    **values
        What the template asks for.

    Returns
    -------
    str
    """
    environment = Environment(
        loader=FileSystemLoader(Path(room).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template(template).render(**values)
