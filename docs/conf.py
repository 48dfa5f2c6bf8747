"""Sphinx configuration: `sphinx-build -W -n docs docs/_build/html`."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

# Keras prints start-up messages otherwise, and the gallery would show them as an example's output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx_gallery.directives import imgsgnode

import seqframe

sys.path.append(str(Path(__file__).parent))
from inventories import write_inventory
from thumbnails import draw_thumbnails

# A package of the theme sends logs from INFO on to the terminal.
logging.getLogger("seqframe").setLevel(logging.WARNING)
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # the examples make many models

project = "seqframe"
author = "The seqframe developers"
project_copyright = author
release = version = seqframe.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "**/GALLERY_HEADER.rst",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
default_role = "code"
nitpicky = True
smartquotes_action = "De"  # dashes and ellipses only: many quotes are code
highlight_language = "none"
nitpick_ignore_regex = [
    # These libraries have no inventory here.
    (r"py:.*", r"(keras|tensorflow|tf|torch|grain|jax|matplotlib|narwhals|nw|pa|pd|pl)\..*|Axes"),
    # Signatures show the short names of these types.
    (
        r"py:class",
        r"(seqframe\..+\.)?(ArrayLike|Batch|Framer|Prompt|Shape|FramesDataset|LaneBatches|LanesDataset|Clock|_\w+)",
    ),
]

# Pages
html_theme = "furo"
html_title = f"seqframe {version}"
# Lines of code with up to 92 characters fit the page.
_code = {"code-font-size": "76%"}
html_theme_options = {"light_css_variables": _code, "dark_css_variables": _code}
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["seqframe.css"]
html_copy_source = False
html_show_sphinx = False
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# API reference
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88


def _analyze(
    self: ModuleAnalyzer, analyze: Callable[[ModuleAnalyzer], None] = ModuleAnalyzer.analyze
):
    """Forget overloads, so that a function is shown once, by the signature of its body."""
    analyze(self)
    self.overloads = {}


ModuleAnalyzer.analyze = _analyze

# If Sphinx cannot fetch a project's inventory, it uses this one of the names that the docs need.
_inventories = Path(__file__).parent / "_build" / "inventories"
intersphinx_mapping = {
    name: (url, (None, str(write_inventory(name, _inventories))))
    for name, url in {
        "python": "https://docs.python.org/3",
        "numpy": "https://numpy.org/doc/stable",
    }.items()
}
# Keras publishes no inventory.
intersphinx_mapping["keras"] = (
    "https://keras.io/api",
    str(write_inventory("keras", _inventories)),
)
intersphinx_timeout = 5

# Gallery
draw_thumbnails(Path(__file__).parent / "_build" / "thumbnails")
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "filename_pattern": r"/\d\d_.*\.py$",
    "ignore_pattern": r"reproduce_chapter\.py$",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": ("_repr_html_",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "reference_url": {"seqframe": None},
    "remove_config_comments": True,
    "min_reported_time": 0,
}


def _let_pictures_scroll(app: Sphinx, page: nodes.document) -> None:
    """Put the pictures of an example into boxes. On a phone they would be too small to read."""
    for picture in [*page.findall(imgsgnode)]:
        box = nodes.container(classes=["scroll"])
        picture.replace_self(box)
        box += picture


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", _let_pictures_scroll)
