"""The command line: `rootstock`."""

from rootstock.cli.app import main

__all__ = ["main"]
