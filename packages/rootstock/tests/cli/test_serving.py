"""`rootstock serve`: a model driven by a server that knows nothing of rootstock."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketIOCalculator
from ase.io import write

pytestmark = pytest.mark.real


def _serve(address: str, template: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from rootstock.cli import main; main()", "serve", "emt"]
    return subprocess.Popen([*command, address, "--template", str(template)])


def _listening() -> tuple[SocketIOCalculator, int]:
    """Return ASE's server at a free port, which somebody else may take before it does."""
    for _ in range(20):
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = int(probe.getsockname()[1])
        try:
            return SocketIOCalculator(port=port, timeout=60), port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise AssertionError("no port stayed free")


@pytest.mark.parametrize("kind", ["unix", "inet"])
def test_ase_drives_what_serve_runs(kind: str, tmp_path: Path) -> None:
    copper = bulk("Cu", cubic=True)
    copper.rattle(0.1, seed=1)
    template = tmp_path / "copper.xyz"
    write(template, copper)
    if kind == "unix":
        name = f"rootstock-{uuid.uuid4().hex[:12]}"
        server = SocketIOCalculator(unixsocket=name, timeout=60)
        address = f"/tmp/ipi_{name}"
    else:
        server, port = _listening()
        address = f"127.0.0.1:{port}"
    with server:
        started: list[subprocess.Popen[bytes]] = []
        # ASE listens when it is first asked, so the model comes a little later.
        later = threading.Timer(1.0, lambda: started.append(_serve(address, template)))
        later.start()
        copper.calc = server
        energy, forces, stress = (
            copper.get_potential_energy(),
            copper.get_forces(),
            copper.get_stress(),
        )
    own = copper.copy()
    own.calc = EMT()
    assert energy == pytest.approx(own.get_potential_energy(), rel=1e-9)
    assert np.allclose(forces, own.get_forces(), atol=1e-9)
    assert np.allclose(stress, own.get_stress(), atol=1e-9)
    assert started[0].wait(30) == 0  # the server's goodbye ends it
