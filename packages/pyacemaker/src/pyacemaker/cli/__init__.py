"""The command line: `pyacemaker`, also installed as `mlip-runner`."""

from pyacemaker.cli.app import main

__all__ = ["main"]
