"""How the documentation is built: `make docs`. Nothing is fetched while it builds, and nothing when it is read."""

import os
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_extensions"))

# The kernels that execute the pages share what they compile, and so does the next build.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / "build" / "docs" / "programs"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("MPLBACKEND", "agg")

project = "Undertow"
author = "The Undertow developers"
copyright = "The Undertow developers, Apache-2.0"  # noqa: A001 - Sphinx's name
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = [
    "myst_nb",  # pages in Markdown, their code executed
    "sphinx_gallery.gen_gallery",  # tutorials: scripts, their figures
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",  # NumPy sections
    "sphinx_copybutton",
    "formulas",
    "reference",
    "sections",
]
exclude_patterns = ["_extensions", "examples", "generated/examples/*.ipynb", "generated/examples/*.py"]
nitpicky = True
# Types of other packages have no page here; a name of ours that leads nowhere is an error. Below the public rooms are
# private modules, which annotations name.
nitpick_ignore_regex = [(r"py:.*", r"(?!undertow\.).*"), (r"py:.*", r"undertow\.(.*\.)?_.*")]
suppress_warnings = ["ref.python"]  # "ndarray of shape (n,)" is no reference to one of the attributes called shape
default_role = "py:obj"

# A page whose code raises stops the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "generated/examples",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "order.by_number",
    "image_scrapers": ("figures.scrape",),
    "reset_modules": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "min_reported_time": 0,
    "show_signature": False,
}

autosummary_generate = False  # a page a room, not a page a name
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = f"Undertow {version}"
html_static_path = ["_static"]
html_css_files = ["undertow.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "Undertow"},
    "navigation_with_keys": False,
    "show_toc_level": 1,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 5,
}
html_sidebars = {"start": [], "extend": [], "theory-map": [], "benchmarks": []}
html_math_renderer = "mathml"
