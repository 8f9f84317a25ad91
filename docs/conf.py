"""How the documentation is built: `make docs`, or `python -m sphinx -W --keep-going docs build/docs`.

Sphinx, because it reads our docstrings, checks every cross-reference and brings a search that needs no server; MyST for
Markdown; Furo for a page that is readable on a phone and in the dark. The built pages load nothing from anywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import reference_pages

from fieldguide import __version__

project = "fieldguide"
author = "The fieldguide authors"
copyright = "the fieldguide authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["reference/_generated", "snippets"]

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

default_role = "literal"  # a docstring's `x` is code
add_module_names = False
autodoc_default_options = {"member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_use_legacy_class_based = False
maximum_signature_line_length = 68
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "fieldguide"
html_static_path = ["_static"]
html_css_files = ["fieldguide.css"]
html_copy_source = False
html_show_sphinx = False
html_use_index = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#1b5e7d",
        "color-brand-content": "#1b5e7d",
        "color-brand-visited": "#1b5e7d",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7cc0e0",
        "color-brand-content": "#7cc0e0",
        "color-brand-visited": "#7cc0e0",
    },
}


def setup(app: Any) -> None:
    """Writes the generated pages before Sphinx looks for sources, and reads docstrings as they are meant."""
    app.connect("builder-inited", lambda app: reference_pages.write(Path(app.srcdir) / "reference" / "_generated"))
    app.connect("autodoc-process-docstring", reference_pages.escape_docstring, priority=400)  # before Napoleon
    app.connect("autodoc-process-signature", reference_pages.hide_fields)
