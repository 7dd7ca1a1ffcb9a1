"""Messages of the library in words of the command: its options instead of Python's arguments."""

import re
import shlex

_TEXTS = "kind|duplicates|decimal|encoding|comment|missing|delimiter"
_NAMES = f"user|item|rating|value|skip_missing|rank|max_iter|{_TEXTS}"


def in_options(message: str) -> str:
    """The message with ``kind="matrix"`` as ``--kind matrix``, and ``max_iter:`` at its start as ``--max-iter:``."""
    message = re.sub(rf"^({_NAMES}): ", lambda found: f"{_option(found[1])}: ", message)
    message = re.sub(
        rf"\b({_TEXTS})=(['\"])(.*?)\2", lambda found: f"{_option(found[1])} {shlex.quote(found[3])}", message
    )
    message = re.sub(r"\bskip_missing=True", "--skip-missing", message)
    message = re.sub(r"\b(user|item|rating)=(?=[,)])", r"--\1", message)
    return re.sub(r"\bwith delimiter\b", "with --delimiter", message)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
