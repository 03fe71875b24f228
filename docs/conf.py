"""How the documentation is built: ``make docs``, without a network, warnings are errors."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]

import prognosis  # noqa: E402

project = "prognosis-mri"
author = "The prognosis-mri developers"
project_copyright = author
version = release = prognosis.__version__

extensions = [
    "house",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_copybutton",
]
root_doc = "index"
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]

# Docstrings. Single backticks name parameters and public names; the latter become links.
default_role = "literal"
add_module_names = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = True
toc_object_entries_show_parents = "hide"
autosummary_ignore_module_all = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# References are checked; those into libraries are not, since their lists would be a download.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(captum|joblib|matplotlib|monai|nibabel|nilearn|numpy|optuna|os|pandas)\..*"),
    (r"py:.*", r"(PIL|pathlib|scipy|sklearn|skorch|sqlalchemy|tempfile|torch)\..*"),
]

# Notebooks are shown as they were committed; the tests run them. (No sphinx-gallery: its scripts
# would train their networks anew at every build, where notebooks and docstrings are run already.)
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# >>> is not copied, nor what a command prints.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

html_theme = "pydata_sphinx_theme"
html_title = "prognosis-mri"
html_static_path = ["_static"]
html_css_files = ["house.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "results", "papers", "glossary")}
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "show_nav_level": 1,
    "navigation_depth": 3,
    "header_links_before_dropdown": 6,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "tango",
}
