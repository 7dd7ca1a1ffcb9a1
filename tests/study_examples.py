"""How the "do it yourself" of a study is run, and what it prints compared with what stands beside it."""

import ast
import io
import math
import re
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import jax

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)(?!\w)")


def printed_beside(code: str) -> list[str]:
    """The lines that a code says it prints: the comments at the end of each ``print`` and on the lines after it."""
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(code).readline) if t.type == tokenize.COMMENT]
    comments = {token.start[0]: token.string.removeprefix("#").removeprefix(" ") for token in tokens}
    alone = {token.start[0] for token in tokens if token.line.lstrip().startswith("#")}
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    ends = {call.end_lineno or 0 for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"}
    expected = []
    for line in sorted(ends):
        expected += [comments[line]] if line in comments else []
        while (line := line + 1) in alone:
            expected.append(comments[line])
    return expected


def same(found: str, expected: str) -> bool:
    """Whether two lines have the same words, and numbers that agree to one unit in the last digit expected."""
    if _words(found) != _words(expected):
        return False
    numbers = NUMBER.findall(expected)
    units = [_unit(number) for number in numbers]
    # NumPy drops the zeros of an array's digits: "4." has as many as the longest beside it.
    finest = min((unit for unit in units if unit), default=0.0)
    pairs = zip(NUMBER.findall(found), numbers, units, strict=True)
    return all(a == b or abs(float(a) - float(b)) <= 1.01 * (finest if unit is None else unit) for a, b, unit in pairs)


def _words(line: str) -> list[str]:
    """The line without its numbers, and without what NumPy pads them with."""
    return re.sub(r"(?<=\[)\s+|\s+(?=\])", "", NUMBER.sub("#", line)).split()


def _unit(number: str) -> float | None:
    """That of the last digit shown: 0 for a whole number and one that is not finite, None where a point is the last."""
    if not math.isfinite(float(number)) or number.lstrip("+-").isdigit():
        return 0.0
    if number.endswith("."):
        return None
    digits, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


@contextmanager
def plain_jax() -> Iterator[None]:
    """JAX as it is in a process of its own, and not as tests have it."""
    settings = {
        "jax_enable_x64": False,
        "jax_numpy_rank_promotion": "allow",
        "jax_numpy_dtype_promotion": "standard",
    }
    before = {setting: getattr(jax.config, setting) for setting in settings}
    try:
        for setting, value in settings.items():
            jax.config.update(setting, value)
        yield
    finally:
        for setting, value in before.items():
            jax.config.update(setting, value)


def run(code: str, name: str) -> list[str]:
    """What it prints, by line."""
    out = io.StringIO()
    with plain_jax(), redirect_stdout(out):
        exec(compile(code, name, "exec"), {"__name__": "__main__"})
    return out.getvalue().splitlines()
