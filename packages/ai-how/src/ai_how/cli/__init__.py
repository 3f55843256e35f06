"""The command line: `ai-how`."""

from ai_how.cli.app import main

__all__ = ["main"]
