"""The extension that a rootstock server and a rootstock worker agree on.

The server announces it in INIT's string, a JSON object with the key ``rootstock``. A worker that
knows it answers the next STATUS with ``READY/RS1`` in place of ``READY``, every other client with
``READY``, and then plain i-PI is spoken. From then on both send frames:

    word (12 bytes) | flags (u32) | count (u32) | length of text (u64) | length of data (u64)

followed by the text (JSON) and the data, or by nothing where a flag says that both lie in the
shared memory. Data are the numbers as they are in memory, in eV and angstrom: nothing is
converted, so results are those of the model bit for bit. Text is left out, with length 0, where
it would repeat that of the frame of the same kind before.

    server  RS-HELLO                 worker  RS-HELLO   what the model can do
    server  RS-ARENA  sizes, and the memory's file descriptor
    server  RS-CALC   structures     worker  RS-DONE    results, or an error for each
                                     worker  RS-FAIL    the request was not understood
    server  RS-EXIT
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from rootstock.errors import ProtocolError
from rootstock.protocol.channel import Channel
from rootstock.protocol.ipi import word

VERSION = 1
READY_EXTENDED = word("READY/RS1")
HELLO = word("RS-HELLO")
ARENA = word("RS-ARENA")
CALC = word("RS-CALC")
DONE = word("RS-DONE")
FAIL = word("RS-FAIL")
QUIT = word("RS-EXIT")

IN_ARENA = 1
_FRAME = struct.Struct("<12sIIQQ")
FRAME = _FRAME.size
_MOST_BYTES = 1 << 40


class Frame(NamedTuple):
    """The fixed part of a message."""

    word: bytes
    flags: int
    structures: int
    text: int
    data: int


def pack_frame(kind: bytes, flags: int = 0, count: int = 0, text: int = 0, data: int = 0) -> bytes:
    """Return a frame's bytes."""
    return _FRAME.pack(kind, flags, count, text, data)


def unpack_frame(raw: bytes | bytearray | memoryview) -> Frame:
    """Return a frame. Raises ProtocolError for lengths that cannot be."""
    frame = Frame(*_FRAME.unpack(raw))
    if frame.text > _MOST_BYTES or frame.data > _MOST_BYTES:
        raise ProtocolError(f"a message of {frame.text} + {frame.data} bytes is announced")
    return frame


def announcement() -> str:
    """Return the string for INIT by which a server says that it knows the extension."""
    return json.dumps({"rootstock": VERSION})


def is_announced(text: str) -> bool:
    """Say whether an INIT string comes from a server that knows this version."""
    try:
        told = json.loads(text)
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("rootstock") == VERSION


def send_object(channel: Channel, kind: bytes, content: dict[str, Any]) -> None:
    """Send a frame with a JSON object for its text."""
    text = json.dumps(content).encode()
    channel.send(pack_frame(kind, text=len(text)) + text)


def parse_object(text: bytes | bytearray | memoryview) -> Any:
    """Return what a text says. Raises ProtocolError if it is not JSON."""
    try:
        return json.loads(bytes(text))
    except ValueError as error:
        raise ProtocolError(f"a message's text is not JSON: {error}") from error
