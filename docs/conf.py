"""Sphinx configuration: ``sphinx-build -W --keep-going -b html docs docs/_build/html``."""

import logging
import re

import matplotlib

import skinvert

matplotlib.use("Agg")

project = "skinvert"
author = "The skinvert developers"
copyright = "The skinvert developers"
version = release = skinvert.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
# Tables that scripts wrote are included by the pages that explain them.
exclude_patterns = ["_build", "_templates", "benchmarks/*/results", "reproductions/*/figures.rst"]
# Markdown habits in docstrings: `name` is set as code.
default_role = "code"

autosummary_generate = True
autodoc_typehints = "none"
# The class template lists members, and leaves out those of torch, skorch and scikit-learn.
numpydoc_show_class_members = False

intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "scipy": ("https://docs.scipy.org/doc/scipy", None),
    "sklearn": ("https://scikit-learn.org/stable", None),
    "torch": ("https://docs.pytorch.org/docs/stable", None),
    "skorch": ("https://skorch.readthedocs.io/en/stable", None),
    "matplotlib": ("https://matplotlib.org/stable", None),
}
intersphinx_timeout = 5

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("skinvert",),
    "reference_url": {"skinvert": None},
    "download_all_examples": False,
    "parallel": 2,
    "show_memory": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skinvert"
html_static_path = ["_static"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _is_not_about_inventories(record):
    return "inventories" not in str(record.msg)


def _unlink_foreign_docstrings(app, what, name, obj, options, lines):
    """Inherited docstrings of scikit-learn refer to labels of its own site."""
    if (getattr(obj, "__module__", None) or "").startswith("sklearn."):
        lines[:] = [
            re.sub(r":(?:ref|term):`([^`<]*?)(?: <[^>]*>)?`", r"\1", line) for line in lines
        ]


def setup(app):
    """Build without a network too: links to other projects are then left out."""
    # Sphinx gives this warning no type, so that suppress_warnings cannot name it.
    logger = logging.getLogger("sphinx.sphinx.ext.intersphinx")
    logger.addFilter(_is_not_about_inventories)
    app.connect("autodoc-process-docstring", _unlink_foreign_docstrings)
