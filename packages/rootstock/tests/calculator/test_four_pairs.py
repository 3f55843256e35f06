"""The i-PI protocol with the real other sides: ASE's server and client, i-PI and its driver."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.socketio import SocketClient, SocketIOCalculator
from ase.io import write
from ase.units import Bohr, Hartree, kJ, mol

from rootstock import IPICalculator, UnsupportedChangeError, WorkerDiedError, WorkerTimeoutError
from rootstock.root.resolve import resolve_model
from rootstock.server.listener import Listener

_LIMIT_S = 120.0


@pytest.fixture
def name() -> Iterator[str]:
    """Return a socket name that nobody else has."""
    chosen = f"rootstock-test-{uuid.uuid4().hex[:12]}"
    yield chosen
    Path(f"/tmp/ipi_{chosen}").unlink(missing_ok=True)


def worker(*arguments: str, model: str = "emt") -> list[str]:
    """Return the command of a worker with a built-in model."""
    resolved = resolve_model(Path(), model)
    command = [str(resolved.python), "-m", "rootstock.worker", "--source", str(resolved.source)]
    return [*command, "--connect-timeout", "60", *arguments]


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    listener = Listener.inet("localhost", 0)
    listener.close()
    return listener.port


def agree(atoms: Atoms, *, stress: bool = True) -> None:
    """Compare a structure's calculator with EMT in this process; units go there and back."""
    reference = atoms.copy()
    reference.calc = EMT()
    assert atoms.get_potential_energy() == pytest.approx(
        reference.get_potential_energy(), rel=1e-12
    )
    np.testing.assert_allclose(atoms.get_forces(), reference.get_forces(), rtol=0, atol=1e-11)
    if stress:
        np.testing.assert_allclose(atoms.get_stress(), reference.get_stress(), rtol=0, atol=1e-12)


@pytest.mark.real
@pytest.mark.parametrize("kind", ["unix", "inet"])
def test_our_worker_is_driven_by_ase(copper: Atoms, name: str, tmp_path: Path, kind: str) -> None:
    write(tmp_path / "template.xyz", copper)
    if kind == "unix":
        where, ours = {"unixsocket": name}, ("--unixsocket", name)
    else:
        port = free_port()
        where, ours = {"port": port}, ("--host", "localhost", "--port", str(port))
    with SocketIOCalculator(timeout=_LIMIT_S, **where) as calculator:
        command = worker(*ours, "--template", str(tmp_path / "template.xyz"))
        process = subprocess.Popen(command)
        copper.calc = calculator
        agree(copper)
        copper.positions[3] += 0.1
        agree(copper)
        copper.set_cell(copper.cell.array * 1.02, scale_atoms=True)
        agree(copper)
    # ASE closes its socket and sends no EXIT: the end of the connection is one too
    assert process.wait(_LIMIT_S) == 0


@pytest.mark.real
@pytest.mark.parametrize("kind", ["unix", "inet"])
def test_our_server_drives_ases_client(copper: Atoms, name: str, kind: str) -> None:
    where = {"unixsocket": name} if kind == "unix" else {"port": 0}
    with IPICalculator(timeout=_LIMIT_S, **where) as calculator:
        remote = copper.copy()
        remote.calc = EMT()

        def serve() -> None:
            # ASE looks for localhost and nothing else
            client = SocketClient(
                unixsocket=name if kind == "unix" else None, port=calculator.port or None
            )
            client.run(remote, use_stress=True)

        thread = threading.Thread(target=serve)
        thread.start()
        copper.calc = calculator
        agree(copper)
        copper.rattle(0.05, seed=9)
        copper.set_cell(copper.cell.array * 0.99, scale_atoms=True)
        agree(copper)
    thread.join(_LIMIT_S)
    assert not thread.is_alive(), "EXIT did not reach the client"


def _lj_template(path: Path) -> Atoms:
    """Return an argon cluster in a large box, and write it for i-PI's driver."""
    rng = np.random.default_rng(5)
    grid = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], float)
    atoms = Atoms("Ar8", 3.8 * grid + rng.normal(0.0, 0.1, (8, 3)), cell=[30.0] * 3, pbc=True)
    write(path, atoms)
    return atoms


@pytest.mark.real
@pytest.mark.parametrize("kind", ["unix", "inet"])
def test_our_server_drives_ipis_own_driver(name: str, tmp_path: Path, kind: str) -> None:
    # i-PI's `spherical_LJ` holds no pair potential; `harmonic` is exact: E = k r^2 / 2
    atoms = _lj_template(tmp_path / "argon.xyz")
    driver = shutil.which("i-pi-driver-py", path=str(Path(sys.executable).parent))
    assert driver is not None
    stiffness = 0.02  # Hartree/bohr^2
    where = {"unixsocket": name} if kind == "unix" else {"port": 0}
    with IPICalculator(timeout=_LIMIT_S, **where) as calculator:
        address = ["-u", "-a", name] if kind == "unix" else ["-p", str(calculator.port)]
        address += [] if kind == "unix" else ["-a", "localhost"]
        command = [sys.executable, driver, *address, "-m", "harmonic", "-o", str(stiffness)]
        process = subprocess.Popen(command)
        atoms.calc = calculator
        for _ in range(3):
            unit = stiffness * Hartree / Bohr**2
            expected = 0.5 * unit * (atoms.positions**2).sum()
            assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-12)
            np.testing.assert_allclose(atoms.get_forces(), -unit * atoms.positions, atol=1e-10)
            atoms.positions += 0.1
    assert process.wait(_LIMIT_S) == 0


@pytest.mark.real
def test_our_server_drives_ipis_driver_with_an_ase_calculator(name: str, tmp_path: Path) -> None:
    """Cell, stress and its sign, through i-PI's own conversions."""
    atoms = _lj_template(tmp_path / "argon.xyz")
    atoms.set_cell([[7.6, 0.3, 0.0], [0.0, 7.7, 0.2], [0.1, 0.0, 7.8]])
    driver = shutil.which("i-pi-driver-py", path=str(Path(sys.executable).parent))
    assert driver is not None
    # i-PI has no EMT or Lennard-Jones of ASE's: a PES file of its own kind, read by -P
    pes = tmp_path / "lj_by_ase.py"
    pes.write_text(
        textwrap.dedent(
            """
            from ase.calculators.lj import LennardJones
            from ipi.pes._ase import ASEDriver

            __DRIVER_NAME__ = "lj_by_ase"
            __DRIVER_CLASS__ = "Driver"

            class Driver(ASEDriver):
                def check_parameters(self):
                    super().check_parameters()
                    self.ase_calculator = LennardJones(sigma=3.4, epsilon=0.0104, rc=7.0)
            """
        )
    )
    with IPICalculator(unixsocket=name, timeout=_LIMIT_S) as calculator:
        template = f"template={tmp_path / 'argon.xyz'}"
        command = [sys.executable, driver, "-u", "-a", name, "-m", "custom", "-P", str(pes)]
        process = subprocess.Popen([*command, "-o", template])
        reference = atoms.copy()
        reference.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=7.0)
        atoms.calc = calculator
        # i-PI's own constants differ from ASE's in the eighth digit
        assert atoms.get_potential_energy() == pytest.approx(
            reference.get_potential_energy(), rel=1e-6
        )
        np.testing.assert_allclose(atoms.get_forces(), reference.get_forces(), atol=1e-7)
        np.testing.assert_allclose(atoms.get_stress(), reference.get_stress(), atol=1e-9)
    assert process.wait(_LIMIT_S) == 0


def _ipi_input(address: str, mode: str, batch: int = 1) -> str:
    # a ring polymer has faster modes than its atoms
    step_fs = 2.0 if batch == 1 else 1.0
    return f"""
    <simulation verbosity='low'>
      <output prefix='nve'>
        <properties stride='1' filename='out'>
          [step, time{{femtosecond}}, conserved{{electronvolt}}, potential{{electronvolt}},
           kinetic_md{{electronvolt}}, pressure_md{{megapascal}}]
        </properties>
        <trajectory filename='for' stride='1' format='xyz'> forces </trajectory>
      </output>
      <total_steps>40</total_steps>
      <prng><seed>31415</seed></prng>
      <ffsocket mode='{mode}' name='driver' pbc='False'>
        {address}
        {f"<batch_size>{batch}</batch_size>" if batch > 1 else ""}
      </ffsocket>
      <system>
        <initialize nbeads='{batch}'>
          <file mode='ase'> start.xyz </file>
          <velocities mode='thermal' units='kelvin'> 300 </velocities>
        </initialize>
        <forces><force forcefield='driver'></force></forces>
        <motion mode='dynamics'>
          <dynamics mode='nve'><timestep units='femtosecond'> {step_fs} </timestep></dynamics>
        </motion>
        <ensemble><temperature units='kelvin'> 300 </temperature></ensemble>
      </system>
    </simulation>
    """


@pytest.mark.real
@pytest.mark.parametrize(("kind", "beads"), [("unix", 1), ("inet", 1), ("unix", 4)])
def test_our_worker_is_driven_by_ipi(
    copper: Atoms, name: str, tmp_path: Path, kind: str, beads: int
) -> None:
    copper.set_cell(copper.cell.cellpar(), scale_atoms=True)  # i-PI wants an upper triangle
    write(tmp_path / "start.xyz", copper)
    if kind == "unix":
        address, ours = f"<address>{name}</address>", ("--unixsocket", name)
    else:
        port = free_port()
        address = f"<address>localhost</address><port>{port}</port>"
        ours = ("--host", "localhost", "--port", str(port))
    (tmp_path / "input.xml").write_text(_ipi_input(address, kind, beads))
    ipi = shutil.which("i-pi", path=str(Path(sys.executable).parent))
    assert ipi is not None
    with (tmp_path / "i-pi.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, ipi, "input.xml"], cwd=tmp_path, stdout=log, stderr=log
        )
        client = subprocess.Popen(worker(*ours, "--template", str(tmp_path / "start.xyz")))
        try:
            assert server.wait(_LIMIT_S) == 0, (tmp_path / "i-pi.log").read_text()[-2000:]
            assert client.wait(_LIMIT_S) == 0
        finally:
            server.kill()
            client.kill()
    rows = np.loadtxt(tmp_path / "nve.out")
    assert len(rows) == 41
    conserved, potential = rows[:, 2], rows[:, 3]
    assert np.ptp(potential) > 0.1, "nothing moved"
    assert np.ptp(conserved) < 0.01 * np.ptp(potential)
    copper.calc = EMT()
    if beads == 1:
        # the first frame's potential is that of the start, in i-PI's units and back
        assert potential[0] == pytest.approx(copper.get_potential_energy(), rel=1e-6)


def test_a_client_cannot_be_told_other_species(copper: Atoms, name: str) -> None:
    with IPICalculator(unixsocket=name, timeout=_LIMIT_S) as calculator:
        remote = copper.copy()
        remote.calc = EMT()
        client = threading.Thread(
            target=lambda: SocketClient(unixsocket=name).run(remote, use_stress=True)
        )
        client.start()
        copper.calc = calculator
        agree(copper)
        copper.numbers[0] = 79
        with pytest.raises(UnsupportedChangeError, match="species"):
            copper.get_potential_energy()
        copper.numbers[0] = 29
        agree(copper)  # the connection has not suffered
        copper.pbc = [True, True, False]
        with pytest.raises(UnsupportedChangeError, match="pbc"):
            copper.get_potential_energy()
    client.join(_LIMIT_S)


@pytest.mark.real
def test_a_client_that_we_start_is_started_anew_for_other_species(
    copper: Atoms, name: str, tmp_path: Path
) -> None:
    started: list[str] = []
    client = textwrap.dedent(
        """
        import sys
        from ase.calculators.emt import EMT
        from ase.calculators.socketio import SocketClient
        from ase.io import read
        atoms = read(sys.argv[1])
        atoms.calc = EMT()
        SocketClient(unixsocket=sys.argv[2]).run(atoms, use_stress=True)
        """
    )

    def command(atoms: Atoms) -> list[str]:
        path = tmp_path / f"template-{len(started)}.xyz"
        write(path, atoms)
        started.append(atoms.get_chemical_formula())
        return [sys.executable, "-c", client, str(path), name]

    with IPICalculator(unixsocket=name, command=command, timeout=_LIMIT_S) as calculator:
        copper.calc = calculator
        agree(copper)
        copper.positions[0] += 0.1
        agree(copper)
        copper.numbers[0] = 79
        agree(copper)
    assert [name.replace("Au", "") for name in started] == ["Cu32", "Cu31"]


def test_nobody_comes(name: str, copper: Atoms) -> None:
    with IPICalculator(unixsocket=name, timeout=0.5) as calculator:
        copper.calc = calculator
        with pytest.raises(WorkerTimeoutError, match="no client came"):
            copper.get_potential_energy()
    assert not Path(f"/tmp/ipi_{name}").exists()


def test_a_client_that_goes_away(name: str, copper: Atoms) -> None:
    with IPICalculator(unixsocket=name, timeout=30.0) as calculator:

        def leave() -> None:
            client = SocketClient(unixsocket=name)
            client.protocol.recvmsg()
            client.protocol.sendmsg("READY")
            client.protocol.recvmsg()
            client.close()

        thread = threading.Thread(target=leave)
        thread.start()
        copper.calc = calculator
        with pytest.raises(WorkerDiedError, match="closed the connection"):
            copper.get_potential_energy()
        thread.join(10)


def test_units_are_ipis() -> None:
    """The conversion's direction, by a number that is known: 1 Hartree = 2625.4996 kJ/mol."""
    assert Hartree / (kJ / mol) == pytest.approx(2625.4996, rel=1e-6)
