"""Compiled programs let go before they fill the table of memory maps of the process."""

import jax

from undertow._programs import memory_maps

# Linux grants a process 65,530 maps, and a compiled program holds several: 5,000 were seen after one study at the smoke
# budget. What is left has to do for a study at the full budget.
_MANY = 16_000


def let_go() -> None:
    """Between two studies: forget what was compiled, where it is much.

    Until then a study finds what an earlier one compiled. Where the system does not tell how much it is, everything is
    forgotten each time.
    """
    maps = memory_maps()
    if maps is None or maps > _MANY:
        jax.clear_caches()
