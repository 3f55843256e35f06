"""What the command line tells in a line and not by a traceback."""

from __future__ import annotations


class AiHowError(Exception):
    """Something the user can mend; the message says what, where and how."""


class BadRequestError(AiHowError):
    """What was asked for cannot be (a name that is not there, a file that is refused): exit 2."""
