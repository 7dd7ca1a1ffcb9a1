"""Small pictures for the cards of the index.

They are files in the folder of their study: sixty studies in two themes would take the whole megabyte that the index
may have, if they were embedded.
"""

from pathlib import Path

from PIL import Image, ImageChops

from undertow._replacing import replacing
from undertow.plotting import Theme

# A card is about 320 pixels wide on a desk, and as wide as a phone's screen; twice that for fine screens.
_WIDEST, _HIGHEST = 640, 400
_COLORS = 64


def thumbnail(theme: Theme) -> str:
    """The name of the file; no figure can have it, for theirs are words joined by hyphens."""
    return f"thumbnail_{theme}.png"


def write_thumbnail(figure: Path, folder: Path, theme: Theme) -> None:
    """Write a figure's PNG small, without its margins, with few colors."""
    with Image.open(figure) as picture:
        whole = picture.convert("RGB")
    background = Image.new("RGB", whole.size, whole.getpixel((0, 0)))
    small = whole.crop(ImageChops.difference(whole, background).getbbox())  # the whole, where it is of one color
    small.thumbnail((_WIDEST, _HIGHEST), Image.Resampling.LANCZOS, reducing_gap=3.0)
    few = small.quantize(_COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with replacing(folder / thumbnail(theme)) as partial:
        few.save(partial, "PNG", optimize=True)
