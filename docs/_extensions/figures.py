"""Figures of the tutorials: Undertow's are made without pyplot, so they are found by their variables."""

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

from undertow import plotting


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that this block of a tutorial has made, and give the text that shows them."""
    names = block_vars["example_globals"]
    shown = names.setdefault("__shown__", [])
    made = [value for value in names.values() if isinstance(value, Figure) and not any(value is old for old in shown)]
    paths = []
    for figure in made:
        path = next(block_vars["image_path_iterator"])
        plotting.save(figure, path)
        paths.append(path)
        shown.append(figure)
    return figure_rst(paths, gallery_conf["src_dir"])
