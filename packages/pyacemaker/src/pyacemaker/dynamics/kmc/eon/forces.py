"""Energies and forces for EON's searches, from the landscape of this process.

EON starts a program for every evaluation (``ext_pot``). Ours holds no potential: it is a few
lines that hand the structure over a socket, private to the user, to the process that walks. So
gamma is watched in every evaluation, as in the built-in engine, and nothing is loaded anew.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType

import numpy as np
from ase import Atoms

from pyacemaker.dynamics.kmc.geometry import Indices
from pyacemaker.dynamics.kmc.landscape import Landscape, LostSearchError, UncertainError

# Named by EON, in the folder it starts the program in.
_ASKED, _ANSWERED = "from_eon_to_extpot", "from_extpot_to_eon"
_LOOK_S = 0.2

# EON starts it some hundred times in a search. So it is without `socket`, which takes longer to
# import than the interpreter to start.
_PROGRAM = """\
#!/bin/sh
exec {python} -S -E -c '
import sys
from _socket import AF_UNIX, SHUT_WR, SOCK_STREAM, socket
with open("{asked}", "rb") as asked:
    structure = asked.read()
line = socket(AF_UNIX, SOCK_STREAM)
line.connect("{address}")
sent = 0
while sent < len(structure):
    sent += line.send(structure[sent:])
line.shutdown(SHUT_WR)
answer = b"".join(iter(lambda: line.recv(65536), b""))
if not answer:
    sys.exit("no energy: the walk has stopped, or the structure has none")
with open("{answered}", "wb") as out:
    out.write(answer)
'
"""


class ForceServer:
    """Evaluates what EON's clients ask for, until it is closed.

    Attributes
    ----------
    program
        The program EON is to start for every evaluation.
    halt
        The structure whose gamma was too large, with it; None so far. In the order of `like`.
    error
        What an evaluation broke down with, if it did.
    """

    def __init__(self, like: Atoms, order: Indices, landscape: Landscape) -> None:
        self.halt: UncertainError | None = None
        self.error: Exception | None = None
        self._like = like
        self._order = order
        self._landscape = landscape
        # The path of a socket may hold 107 characters; a work directory's may be longer.
        self._folder = Path(tempfile.mkdtemp(prefix="pyacemaker-eon-"))
        self._socket = socket.socket(socket.AF_UNIX)
        address = self._folder / "forces"
        self._socket.bind(str(address))
        self._socket.listen()
        self._socket.settimeout(_LOOK_S)
        self.program = self._folder / "ext_pot"
        self.program.write_text(
            _PROGRAM.format(
                python=sys.executable, asked=_ASKED, answered=_ANSWERED, address=address
            )
        )
        self.program.chmod(0o700)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> ForceServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                line, _ = self._socket.accept()
            except TimeoutError:
                continue
            with line:
                line.settimeout(None)
                try:
                    line.sendall(self._answer(_all_of(line).decode()).encode())
                except OSError:
                    continue  # a client that was killed meanwhile

    def _answer(self, asked: str) -> str:
        """Return energy (eV) and forces (eV/angstrom) as EON reads them, or nothing."""
        if self.halt is not None or self.error is not None:
            return ""
        try:
            atoms = self._structure(asked)
            self._landscape.evaluate(atoms)
            energy = self._landscape.calculator.get_property("energy", atoms)
            forces = self._landscape.calculator.get_property("forces", atoms)[self._order]
        except UncertainError as halt:
            self.halt = halt
            return ""
        except LostSearchError:
            return ""
        except Exception as error:  # whatever a calculator raises: the walk ends and says so
            self.error = error
            return ""
        rows = "\n".join(" ".join(f"{value:.17g}" for value in row) for row in forces)
        return f"{energy:.17g}\n{rows}\n"

    def _structure(self, asked: str) -> Atoms:
        """Read three lines of the cell, then atomic number and position of every atom."""
        numbers = np.array(asked.split(), dtype=float)
        rows = numbers[9:].reshape(-1, 4)
        atoms: Atoms = self._like.copy()
        if len(rows) != len(atoms) or (rows[:, 0] != atoms.numbers[self._order]).any():
            raise ValueError("EON asked for other atoms than it was given")
        positions = np.empty_like(atoms.positions)
        positions[self._order] = rows[:, 1:]
        atoms.set_constraint()
        atoms.positions = positions
        return atoms


def _all_of(line: socket.socket) -> bytes:
    return b"".join(iter(lambda: line.recv(65536), b""))
