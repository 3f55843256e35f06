"""Workers that fail in every way; the error says how, and the next call works."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from rootstock import (
    ModelError,
    ModelSetupError,
    NotFiniteError,
    ProtocolError,
    RootstockCalculator,
    WorkerDiedError,
    WorkerTimeoutError,
)
from rootstock.errors import RootstockError, WorkerError, WorkerStartError
from rootstock.protocol import extension, ipi
from rootstock.protocol.channel import Channel
from rootstock.server.listener import Listener
from rootstock.server.session import negotiate

# Does what the species of the first atom says.
MOODY = """
    import os, subprocess, sys, time
    import numpy as np
    from ase.calculators.calculator import Calculator, all_changes

    class Moody(Calculator):
        implemented_properties = ["energy", "forces", "stress"]

        def calculate(self, atoms=None, properties=(), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            mood = atoms.get_chemical_symbols()[0]
            forces = np.ones((len(atoms), 3))
            energy = 1.0
            stress = np.zeros(6)
            if mood == "Ag":
                print("the last words", flush=True)
                os._exit(7)
            elif mood == "Au":
                print("before the end", file=sys.stderr, flush=True)
                os.kill(os.getpid(), 11)
            elif mood == "Al":
                child = subprocess.Popen(["sleep", "600"])
                print("child", child.pid, flush=True)
                time.sleep(600)
            elif mood == "Pt":
                for _ in range(20000):
                    print("garbage FORCEREADY HAVEDATA " * 5)
                os.write(1, b"\\x00\\xff" * 100000)
            elif mood == "Ni":
                forces[3, 1] = np.nan
            elif mood == "Pd":
                energy = float("inf")
            elif mood == "Fe":
                raise ValueError("iron is not for me")
            elif mood == "Co":
                forces = forces[1:]
            elif mood == "Cr":
                stress[5] = np.nan
            elif mood == "Ti":
                os.kill(os.getpid(), 9)
            elif mood == "Zn":
                raise SystemExit(5)
            self.results = {"energy": energy, "forces": forces, "stress": stress}

    def setup(model, device, **kwargs):
        print("ready", flush=True)
        return Moody()
"""


def alive(pid: int) -> bool:
    """Say whether a process exists and is not a zombie waiting for its parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def gone(pid: int) -> bool:
    """Wait for a process to end."""
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


@pytest.fixture
def moody(source: Callable[[str], Path]) -> Path:
    """Return the file of a model that fails as its first atom says."""
    return source(MOODY)


def of(atoms: Atoms, symbol: str) -> Atoms:
    """Return a copy whose first atom is another one; it shares the calculator."""
    changed = atoms.copy()
    changed.symbols[0] = symbol
    changed.calc = atoms.calc
    return changed


@pytest.mark.parametrize("transport", ["auto", "socket", "i-pi"])
@pytest.mark.parametrize(
    ("mood", "code", "says", "output"),
    [
        ("Ag", 7, "exit status 7", "the last words"),
        ("Au", -signal.SIGSEGV, "SIGSEGV", "before the end"),
        ("Ti", -signal.SIGKILL, "memory", "ready"),
    ],
)
def test_a_worker_that_dies(
    moody: Path, copper: Atoms, transport: str, mood: str, code: int, says: str, output: str
) -> None:
    with RootstockCalculator(environment=moody, timeout=60, transport=transport) as calculator:
        copper.calc = calculator
        assert copper.get_potential_energy() == pytest.approx(1.0)
        with pytest.raises(WorkerDiedError, match=says) as caught:
            of(copper, mood).get_forces()
        assert caught.value.returncode == code
        assert output in caught.value.output
        assert output in str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.returncode) == (str(caught.value), code)
        copper.positions[0] += 0.1
        assert copper.get_potential_energy() == pytest.approx(1.0), "the next call starts anew"


def test_a_time_limit_ends_the_whole_group(moody: Path, copper: Atoms) -> None:
    with RootstockCalculator(environment=moody, timeout=60) as calculator:
        copper.calc = calculator
        copper.get_potential_energy()
        worker = calculator.about["pid"]
        calculator.timeout = 1.0
        start = time.monotonic()
        with pytest.raises(WorkerTimeoutError, match="within 1 s") as caught:
            of(copper, "Al").get_forces()
        assert time.monotonic() - start < 20
        assert isinstance(caught.value, TimeoutError)
        child = int(caught.value.output.split("child")[1].split()[0])
        assert gone(worker)
        assert gone(child)
        calculator.timeout = 60
        assert copper.get_potential_energy() == 1.0


def test_a_setup_that_never_ends(source: Callable[[str], Path], copper: Atoms) -> None:
    path = source(
        """
        import time
        def setup(model, device, **kwargs):
            print("waiting for a download", flush=True)
            time.sleep(600)
        """
    )
    with RootstockCalculator(environment=path, startup_timeout=10.0) as calculator:
        copper.calc = calculator
        start = time.monotonic()
        with pytest.raises(WorkerTimeoutError, match="not ready within 10 s") as caught:
            copper.get_potential_energy()
        assert time.monotonic() - start < 40
        assert "waiting for a download" in caught.value.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_package\ndef setup(model, device): ...", "no_such_package"),
        ("def setup(model, device):\n    raise OSError('no weights')", "no weights"),
        ("def setup(model, device):\n    return 3", "neither an ASE calculator"),
    ],
)
def test_a_setup_that_fails(
    source: Callable[[str], Path], copper: Atoms, text: str, says: str
) -> None:
    path = source(text)
    copper.calc = RootstockCalculator(environment=path, startup_timeout=60)
    with pytest.raises(ModelSetupError, match=r"model\.py cannot be set up") as caught:
        copper.get_potential_energy()
    assert says in str(caught.value)
    assert "Traceback" in caught.value.output
    path.write_text("from ase.calculators.emt import EMT\ndef setup(m, d): return EMT()")
    copper.get_potential_energy()  # what was wrong was mended
    copper.calc.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def nothing(): ...", "no function setup"),
        ("def setup(model, device): this is no Python", "not Python"),
    ],
)
def test_a_file_without_setup_is_refused_before_anything_starts(
    source: Callable[[str], Path], text: str, says: str
) -> None:
    with pytest.raises(RootstockError, match=says):
        RootstockCalculator(environment=source(text))


def test_an_interpreter_that_is_not_there(copper: Atoms, tmp_path: Path) -> None:
    import dataclasses

    calculator = RootstockCalculator("emt")
    calculator.resolved = dataclasses.replace(calculator.resolved, python=tmp_path / "python")
    copper.calc = calculator
    with pytest.raises(WorkerStartError, match="cannot be started"):
        copper.get_potential_energy()


@pytest.mark.parametrize("transport", ["auto", "socket"])
@pytest.mark.parametrize(
    ("mood", "error", "says"),
    [
        ("Ni", NotFiniteError, r"forces .* atom 3"),
        ("Pd", NotFiniteError, "energy"),
        ("Cr", NotFiniteError, "stress"),
        ("Fe", ModelError, "ValueError: iron is not for me"),
        ("Co", ModelError, "shape"),
    ],
)
def test_what_the_worker_survives(
    moody: Path, copper: Atoms, transport: str, mood: str, error: type[ModelError], says: str
) -> None:
    with RootstockCalculator(environment=moody, timeout=60, transport=transport) as calculator:
        copper.calc = calculator
        copper.get_potential_energy()
        pid = calculator.about["pid"]
        for _ in range(2):
            with pytest.raises(error, match=says) as caught:
                of(copper, mood).get_forces()
            assert copper.get_potential_energy() == 1.0
        assert calculator.about["pid"] == pid
        if mood == "Fe":
            assert "in calculate" in caught.value.remote
            many = [copper, of(copper, mood), copper]
            with pytest.raises(ModelError) as caught:
                calculator.calculate_many(many)
            assert caught.value.index == 1
            kept = calculator.calculate_many(many, allow_errors=True)
            assert [isinstance(one, ModelError) for one in kept] == [False, True, False]


def test_garbage_on_stdout_does_no_harm(moody: Path, copper: Atoms, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with RootstockCalculator(environment=moody, timeout=60, log=log) as calculator:
        copper.calc = calculator
        assert of(copper, "Pt").get_potential_energy() == 1.0
        assert copper.get_potential_energy() == 1.0
    assert log.stat().st_size > 2_000_000


def test_a_model_that_leaves_by_system_exit(moody: Path, copper: Atoms) -> None:
    with RootstockCalculator(environment=moody, timeout=60) as calculator:
        copper.calc = calculator
        with pytest.raises(WorkerDiedError, match="exit status 5"):
            of(copper, "Zn").get_potential_energy()


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Hear SIGINT: tests in the background inherit that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_does_not_leave_old_answers(moody: Path, copper: Atoms) -> None:
    """Ctrl-C while a model computes: its answer must not be taken for that of the next call."""
    with RootstockCalculator(environment=moody, timeout=60) as calculator:
        copper.calc = calculator
        copper.get_potential_energy()
        pid = calculator.about["pid"]
        threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            of(copper, "Al").get_potential_energy()
        assert gone(pid)
        assert copper.get_potential_energy() == 1.0


PARENT = """
    import sys, threading
    from ase.build import bulk
    from rootstock import RootstockCalculator

    atoms = bulk("Cu", cubic=True)
    atoms.calc = RootstockCalculator(environment=sys.argv[1], timeout=600)
    if sys.argv[2] == "thread":
        thread = threading.Thread(target=atoms.calc.start)
        thread.start()
        thread.join()
    atoms.get_potential_energy()
    if sys.argv[2] == "forked":
        import os, time
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    print(atoms.calc.about["pid"], flush=True)
    if sys.argv[2] != "idle":
        atoms.symbols[0] = "Al"  # computes for ten minutes
        atoms.get_potential_energy()
    import time
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["busy", "idle", "thread", "forked"])
def test_kill_9_of_the_parent_leaves_no_orphan(moody: Path, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(moody), how],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,
    )
    assert parent.stdout is not None
    with parent.stdout as told:
        worker = int(told.readline())
    assert alive(worker)
    time.sleep(0.5)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    try:
        assert gone(worker)
        assert list(folder.iterdir()) == [], "files are left"
    finally:
        os.killpg(parent.pid, signal.SIGKILL) if how == "forked" else None


def test_a_worker_that_holds_the_interpreter_dies_too(
    source: Callable[[str], Path], tmp_path: Path
) -> None:
    """Compiled code that never lets Python run again: only the kernel can end it."""
    path = source(
        """
        import ctypes
        from ase.calculators.calculator import Calculator

        class Stuck(Calculator):
            implemented_properties = ["energy", "forces"]

            def calculate(self, atoms=None, properties=(), system_changes=()):
                ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the interpreter's lock

        def setup(model, device, **kwargs):
            return Stuck()
        """
    )
    code = """
        import sys, threading
        from ase.build import bulk
        from rootstock import RootstockCalculator
        atoms = bulk("Cu")
        atoms.calc = RootstockCalculator(environment=sys.argv[1])
        thread = threading.Thread(target=atoms.calc.start)
        thread.start(); thread.join()
        print(atoms.calc.about["pid"], flush=True)
        atoms.get_potential_energy()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout as told:
        worker = int(told.readline())
    time.sleep(1.0)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone(worker)


def test_close_ends_the_worker_and_a_call_starts_it_again(moody: Path, copper: Atoms) -> None:
    calculator = RootstockCalculator(environment=moody, timeout=60)
    copper.calc = calculator
    copper.get_potential_energy()
    pid = calculator.about["pid"]
    calculator.close()
    assert gone(pid)
    calculator.close()
    copper.positions[0] += 0.1
    assert copper.get_potential_energy() == 1.0
    pid = calculator.about["pid"]
    copper.calc = None
    del calculator
    assert gone(pid), "a calculator that is thrown away leaves its worker"


def test_the_socket_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    listener = Listener.private()
    path = Path(listener.address)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    listener.close()
    assert not path.parent.exists()
    named = Listener.named(f"rootstock-test-{os.getpid()}")
    try:
        assert Path(named.address).stat().st_mode & 0o777 == 0o600
        with pytest.raises(Exception, match="another server has it"):
            Listener.named(f"rootstock-test-{os.getpid()}")
    finally:
        named.close()


def test_a_long_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    listener = Listener.private()
    assert len(listener.address) < 104
    listener.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_client_is_turned_away() -> None:
    listener = Listener.private()
    path = Path(listener.address)
    path.parent.chmod(0o755)  # as if the folder's mode had not kept it out
    path.chmod(0o777)
    code = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
        "s.connect(sys.argv[1]); sys.exit(len(s.recv(12)))"
    )
    intruder = subprocess.Popen([sys.executable, "-c", code, str(path)])
    with pytest.raises(TimeoutError):
        listener.accept(3.0)
    assert intruder.wait(10) == 0, "it was told something"
    listener.close()


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-Open",
        ipi.NEEDINIT + extension.READY_EXTENDED + b"\xff" * extension.FRAME,
        ipi.NEEDINIT
        + extension.READY_EXTENDED
        + extension.pack_frame(extension.HELLO, text=4)
        + b"oops",
    ],
)
def test_a_client_that_babbles(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(said)
    channel = Channel(ours)
    channel.deadline = time.monotonic() + 5
    with pytest.raises(ProtocolError):
        negotiate(channel)
    ours.close()
    theirs.close()


def test_lengths_that_cannot_be_are_refused() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(np.float64(0).tobytes() + np.int32(-5).tobytes())
    with pytest.raises(ProtocolError, match="number of atoms"):
        ipi.read_forceready(Channel(ours), 4)
    theirs.sendall(np.float64(0).tobytes() + np.int32(5).tobytes())
    with pytest.raises(ProtocolError, match="5 atoms where 4"):
        ipi.read_forceready(Channel(ours), 4)
    ours.close()
    theirs.close()


def test_every_worker_error_is_one() -> None:
    for kind in (WorkerDiedError, WorkerTimeoutError, ModelSetupError, WorkerStartError):
        assert issubclass(kind, WorkerError)
