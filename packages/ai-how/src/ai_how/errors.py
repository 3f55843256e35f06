"""What the command line tells in a line and not by a traceback."""

from __future__ import annotations


class AiHowError(Exception):
    """Something the user can mend; the message says what, where and how."""
