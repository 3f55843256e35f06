"""The i-PI protocol as i-PI 3 speaks it: https://docs.ipi-code.org (ipi/interfaces/sockets.py).

Every message begins with a word padded to twelve bytes. Numbers are native doubles and 32-bit
integers in Hartree atomic units. The cell matrix has the lattice vectors in its columns, its
inverse is that of this matrix, and both are sent row by row. The virial is minus the stress
(tensile positive) times the volume.

    server  STATUS      client  NEEDINIT | READY | HAVEDATA
    server  INIT        bead index, length, string
    server  POSDATA     cell, inverse cell, number of atoms, positions
    server  GETFORCE    client  FORCEREADY, energy, number of atoms, forces, virial, length, extra
    server  EXIT
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from rootstock.errors import ProtocolError
from rootstock.protocol.channel import Channel

Array = NDArray[np.float64]

WORD = 12
_INT = struct.Struct("=i")
_DOUBLE = struct.Struct("=d")
_MOST_ATOMS = 100_000_000


def word(text: str) -> bytes:
    """Return a message's word as it is sent."""
    encoded = text.encode("ascii").ljust(WORD)
    if len(encoded) != WORD:
        raise ValueError(f"{text!r} is longer than {WORD} bytes")
    return encoded


STATUS = word("STATUS")
NEEDINIT = word("NEEDINIT")
READY = word("READY")
HAVEDATA = word("HAVEDATA")
INIT = word("INIT")
POSDATA = word("POSDATA")
GETFORCE = word("GETFORCE")
FORCEREADY = word("FORCEREADY")
EXIT = word("EXIT")


@dataclass(frozen=True)
class Positions:
    """A structure without its species, in angstrom; `cell` has the vectors in its rows."""

    cell: Array
    positions: Array


@dataclass(frozen=True)
class Forces:
    """An answer: eV, eV/angstrom, `virial` (3 x 3, eV), and the extra bytes."""

    energy: float
    forces: Array
    virial: Array
    extra: bytes


def init_message(index: int, text: str) -> bytes:
    """Return an INIT."""
    data = text.encode()
    return INIT + _INT.pack(index) + _INT.pack(len(data)) + data


def read_init(channel: Channel) -> tuple[int, str]:
    """Return the bead index and the string of an INIT whose word has been read."""
    index, length = struct.unpack("=ii", channel.receive(8))
    if not 0 <= length <= 1 << 30:
        raise ProtocolError(f"INIT announces a string of {length} bytes")
    return index, bytes(channel.receive(length)).decode("utf-8", errors="replace")


def posdata_message(cell: Array, positions: Array) -> bytes:
    """Return a POSDATA; `cell` (3 x 3, vectors in rows) and `positions` (N x 3) in angstrom.

    The inverse of a cell without three vectors is the pseudo-inverse.
    """
    columns = np.ascontiguousarray(cell.T, dtype=np.float64)
    inverse = np.linalg.pinv(columns)
    return b"".join(
        (
            POSDATA,
            (columns / Bohr).tobytes(),
            (inverse * Bohr).tobytes(),
            _INT.pack(len(positions)),
            (positions / Bohr).tobytes(),
        )
    )


def read_posdata(channel: Channel) -> Positions:
    """Return the structure of a POSDATA whose word has been read."""
    head = channel.receive(2 * 72 + 4)
    columns = np.frombuffer(head, np.float64, 9).reshape(3, 3)
    count = _atoms(head[144:148])
    positions = np.frombuffer(channel.receive(24 * count), np.float64).reshape(count, 3)
    return Positions(np.ascontiguousarray(columns.T) * Bohr, positions * Bohr)


def read_posdata_batch(channel: Channel, size: int) -> list[Positions]:
    """Return the structures of a POSDATA in the batched form that i-PI 3.3 announces in INIT."""
    count = _atoms(channel.receive(4))
    cells = np.frombuffer(channel.receive(size * 144), np.float64).reshape(size, 2, 3, 3)
    all_positions = np.frombuffer(channel.receive(size * 24 * count), np.float64)
    return [
        Positions(np.ascontiguousarray(cell[0].T) * Bohr, positions * Bohr)
        for cell, positions in zip(cells, all_positions.reshape(size, count, 3), strict=True)
    ]


def forceready_message(answer: Forces) -> bytes:
    """Return a FORCEREADY."""
    return b"".join(
        (
            FORCEREADY,
            _DOUBLE.pack(answer.energy / Hartree),
            _INT.pack(len(answer.forces)),
            (answer.forces * (Bohr / Hartree)).tobytes(),
            np.ascontiguousarray(answer.virial.T / Hartree).tobytes(),
            _INT.pack(len(answer.extra)),
            answer.extra,
        )
    )


def forceready_batch_message(answers: list[Forces]) -> bytes:
    """Return a FORCEREADY in i-PI's batched form; all have the same number of atoms."""
    return b"".join(
        (
            FORCEREADY,
            *(_DOUBLE.pack(a.energy / Hartree) for a in answers),
            _INT.pack(len(answers[0].forces)),
            *((a.forces * (Bohr / Hartree)).tobytes() for a in answers),
            *(np.ascontiguousarray(a.virial.T / Hartree).tobytes() for a in answers),
            *(_INT.pack(len(a.extra)) + a.extra for a in answers),
        )
    )


def read_forceready(channel: Channel, atoms: int) -> Forces:
    """Return the answer after a FORCEREADY whose word has been read.

    Raises ProtocolError where it is for another number of atoms than `atoms`.
    """
    head = channel.receive(12)
    energy = _DOUBLE.unpack(head[:8])[0]
    count = _atoms(head[8:12])
    if count != atoms:
        raise ProtocolError(f"the client answered for {count} atoms where {atoms} were sent")
    forces = np.frombuffer(channel.receive(24 * count), np.float64).reshape(count, 3)
    virial = np.frombuffer(channel.receive(72), np.float64).reshape(3, 3)
    length = _INT.unpack(channel.receive(4))[0]
    if not 0 <= length <= 1 << 30:
        raise ProtocolError(f"the client announces {length} extra bytes")
    extra = bytes(channel.receive(length))
    return Forces(energy * Hartree, forces * (Hartree / Bohr), virial.T * Hartree, extra)


def _atoms(data: bytes | bytearray) -> int:
    count = int(_INT.unpack(data)[0])
    if not 0 <= count <= _MOST_ATOMS:
        raise ProtocolError(f"{count} is not a number of atoms")
    return count
