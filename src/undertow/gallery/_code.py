"""Python source as HTML with its comments and strings told apart, by Python's own tokenizer."""

import io
import tokenize

from markupsafe import Markup, escape

_KINDS = {tokenize.COMMENT: "comment", tokenize.STRING: "string"}


def marked(source: str) -> Markup:
    """The source, escaped, with comments and strings in spans; text that is no Python comes out unmarked.

    Examples
    --------
    >>> marked("print(1 < 2)  # True")
    Markup('print(1 &lt; 2)  <span class="comment"># True</span>')
    """
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    pieces, done = [], 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type in _KINDS:
                begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
                pieces += [
                    escape(source[done:begin]),
                    Markup('<span class="{}">{}</span>').format(_KINDS[token.type], source[begin:end]),
                ]
                done = end
    except (tokenize.TokenError, SyntaxError):
        return escape(source)
    return Markup("").join([*pieces, escape(source[done:])])
