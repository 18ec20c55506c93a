"""The documentation site: Sphinx with MyST, and pages made from the program itself (`pages.py`)."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import pages  # noqa: E402

from openr1 import __version__  # noqa: E402

project = "openr1"
copyright = "the openr1 maintainers"
release = __version__
extensions = ["myst_parser", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"openr1 {release}"
html_static_path = ["_static"]
html_css_files = ["openr1.css"]
myst_heading_anchors = 4
smartquotes = False  # `--flag` stays two dashes, also where it is no code
myst_enable_extensions = ["colon_fence", "deflist"]
exclude_patterns = ["_build"]
# A page that refers to a file of the repository beside docs/ is meant for readers on a code host as well.
suppress_warnings = ["misc.highlighting_failure"]

pages.write(HERE)
