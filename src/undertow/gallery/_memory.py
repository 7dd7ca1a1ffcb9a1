"""Compiled programs let go before they fill the table of memory maps of the process."""

from pathlib import Path

import jax

_MAPS = Path("/proc/self/maps")
# Linux grants a process 65,530 maps, and a compiled program holds several: 5,000 were seen after one study at the smoke
# budget. What is left has to do for a study at the full budget.
_MANY = 16_000


def let_go() -> None:
    """Between two studies: forget what was compiled, where it is much.

    Until then a study finds what an earlier one compiled. Where the system does not tell how much it is, everything is
    forgotten each time.
    """
    try:
        with _MAPS.open("rb") as lines:
            many = sum(1 for _ in lines) > _MANY
    except OSError:
        many = True
    if many:
        jax.clear_caches()
