"""The command ``undertow``. Nothing heavy is imported here: ``undertow --help`` answers at once."""

from undertow.cli._app import app, main

from .._public import public_names as _public_names

__all__ = ["app", "main"]

__dir__ = _public_names(__name__)
