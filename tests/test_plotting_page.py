"""The page on figures: its code runs as it stands there, and every call gives a figure."""

import ast
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

PAGE = Path(__file__).parents[1] / "docs" / "plotting.md"


@pytest.mark.long
def test_the_code_of_the_page_runs():
    names, made = {}, []
    cells = re.findall(r"```\{code-cell\}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for cell in cells:
        *before, last = ast.parse(cell).body
        exec(compile(ast.Module(before, []), "<page>", "exec"), names)
        assert isinstance(last, ast.Expr)
        made.append(eval(compile(ast.Expression(last.value), "<page>", "eval"), names))
    assert len(made) == len(cells) >= 4
    assert all(isinstance(figure, Figure) for figure in made)
