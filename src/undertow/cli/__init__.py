"""The command ``undertow``. Nothing heavy is imported here: ``undertow --help`` answers at once."""

from undertow.cli._app import app, main

__all__ = ["app", "main"]
