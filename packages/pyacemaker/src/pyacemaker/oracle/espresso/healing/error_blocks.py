"""The error messages of Quantum ESPRESSO, between lines of per cent signs."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BARS = re.compile(r"^[ \t]*%{20,}[ \t]*\r?$", re.MULTILINE)
_HEAD = re.compile(
    r"(?:error in routine|from|error:? in|error from routine)\s+(.*?)\s*"
    r"(?:\(\s*(-?\d+|\*+)\s*\))?\s*:?(?:error #\s*(-?\d+|\*+))?\s*$",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"^[ \t%]*(?:error in routine[ \t]+|from[ \t]+)([^\n:(]{1,80}?)[ \t]*"
    r"(?:\([ \t]*-?[\d*]+[ \t]*\)[ \t]*:|:[ \t]*error #[ \t]*-?[\d*]+)[ \t]*\n?([^\n]{0,400})",
    re.IGNORECASE | re.MULTILINE,
)
_MOST_BLOCKS, _LONGEST_BLOCK = 50, 4000


@dataclass(frozen=True)
class ErrorBlock:
    """An error message of the program: where it was raised and what it says."""

    routine: str
    message: str

    @property
    def line(self) -> str:
        """Return the block as one line."""
        return f"{self.routine}: {self.message}" if self.routine else self.message


def error_blocks(text: str) -> list[ErrorBlock]:
    """Return the messages between lines of per cent signs, in order, without repetition.

    Every process of a parallel run writes the same block, often into each other's lines.
    """
    pieces = _BARS.split(text)
    blocks: list[ErrorBlock] = []
    for piece in pieces[1 : 2 * _MOST_BLOCKS]:
        block = _block(piece[:_LONGEST_BLOCK])
        if block is not None and block not in blocks:
            blocks.append(block)
    return blocks or _without_bars(text)


def _without_bars(text: str) -> list[ErrorBlock]:
    """Return the messages of a text whose bars were left out, as where people quote it."""
    found: list[ErrorBlock] = []
    for match in _BARE.finditer(text):
        block = ErrorBlock(match[1].strip(), " ".join(match[2].split())[:400])
        if block not in found:
            found.append(block)
        if len(found) >= _MOST_BLOCKS:
            break
    return found


def _block(piece: str) -> ErrorBlock | None:
    lines = [line.strip(" %\t\r") for line in piece.splitlines()]
    lines = [line for line in lines if line]
    if not lines or lines[0].lower().startswith("stopping"):
        return None
    for number, line in enumerate(lines[:4]):
        if head := _HEAD.fullmatch(line):
            said = []
            for following in lines[number + 1 : number + 9]:
                if following.lower().startswith(("stopping", "task #")):
                    break
                said.append(following)
            return ErrorBlock(head[1].strip(" :"), " ".join(said)[:400])
    if len(lines) <= 8 and any("error" in line.lower() for line in lines):
        return ErrorBlock("", " ".join(lines)[:400])
    return None
