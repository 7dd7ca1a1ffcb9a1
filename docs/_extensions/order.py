"""The order of the tutorials: by the number in the name of the file, so that 10 comes after 9."""

import re
from pathlib import Path


def by_number(filename: str | Path) -> tuple[int, str]:
    """What tutorials are sorted by; those without a number come first."""
    name = Path(filename).name
    number = re.search(r"\d+", name)
    return (int(number[0]) if number else -1), name
