"""libvirt's system daemon, spoken to by virsh(1), and started where nobody else has.

A machine without systemd (a container, say) has nobody who starts libvirtd. One that was started
here is known by the file that its command line names, and is ended with the last guest. It has a
qemu.conf of its own, laid over the machine's where only it sees that: as the machine's user for
qemu it would find a /dev/kvm that root alone may open, and look for it again and again.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.daemons import PROGRAM_PATH, commands, end, start
from ai_how.files import locked, write_whole

URI = "qemu:///system"
_OWN = Path("/run/ai-how-libvirt")
_CONF, _PID = _OWN / "qemu.conf", _OWN / "libvirtd.pid"
_SYSTEMD = Path("/run/systemd/system")
_LOGS = Path("/var/log/libvirt/qemu")
_LIMIT_S, _ANSWER_S = 60.0, 30.0
_SERVERS = frozenset({"libvirtd", "virtqemud"})
_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
"""
_IN_ITS_OWN = (
    *("unshare", "--mount", "--propagation", "slave", "sh", "-c"),
    'mount --bind "$1" /etc/libvirt/qemu.conf && exec libvirtd --daemon --pid-file "$2"',
    "sh",
)
_ENVIRONMENT = {"PATH": PROGRAM_PATH, "LC_ALL": "C", "HOME": "/root"}


def virsh(*words: str, limit_s: float = _LIMIT_S) -> str:
    """Run a command of virsh and return what it printed; libvirtd is started if it does not run.

    Raises DriverError with what it said.
    """
    done = _virsh(*words, limit_s=limit_s)
    if done.returncode and "failed to connect" in done.stderr:
        start_libvirt()
        done = _virsh(*words, limit_s=limit_s)
    if done.returncode:
        said = " ".join(line.removeprefix("error: ") for line in done.stderr.split("\n") if line)
        raise DriverError(f"virsh {words[0]}: {said}")
    return done.stdout


def domains() -> set[str]:
    """Return the names of all domains of this machine, running or not."""
    return set(virsh("list", "--all", "--name").split())


def define(xml: str, file: Path) -> None:
    """Define a domain; its definition is kept in `file`, written once libvirt has taken it."""
    new = file.with_name(f"{file.name}.new")
    write_whole(new, xml)
    virsh("define", "--validate", str(new))
    new.replace(file)


def start_domain(name: str) -> None:
    """Start a domain whose guest does not run; libvirt may not have seen yet that it died."""
    try:
        virsh("start", name)
    except DriverError as error:
        if "already active" not in str(error):
            raise
        with contextlib.suppress(DriverError):
            virsh("destroy", name)
        virsh("start", name)


def undefine(name: str) -> None:
    """Remove a domain that does not run, and the logs that libvirt kept of it."""
    virsh("undefine", name)
    for log in _LOGS.glob(f"{name}[.-]*log*"):
        log.unlink(missing_ok=True)


def server_runs() -> bool:
    """Say whether a server of libvirt runs."""
    return any(Path(words[0]).name in _SERVERS for _, words in commands())


def start_libvirt() -> None:
    """Start libvirtd, by systemd where that runs. Raises DriverError if it does not answer."""
    with locked(_OWN / "lock"):
        if _virsh("uri").returncode == 0:
            return
        if _SYSTEMD.is_dir():
            _started(["systemctl", "start", "libvirtd"])
        elif not server_runs():
            write_whole(_CONF, _QEMU_CONF)
            _started([*_IN_ITS_OWN, str(_CONF), str(_PID)])
        until = time.monotonic() + _ANSWER_S
        while (done := _virsh("uri")).returncode:
            if time.monotonic() > until:
                raise DriverError(f"libvirtd does not answer: {done.stderr.strip()}")
            time.sleep(0.1)


def end_own_libvirt() -> None:
    """End the libvirtd that `start_libvirt` started, if nothing runs that it would look after."""
    if not _OWN.is_dir():
        return
    with locked(_OWN / "lock"):
        own = []
        for pid, words in commands():
            if str(_PID) in words:
                own.append(pid)
            elif Path(words[0]).name.startswith("qemu-system") and _is_domain(words):
                return
        end(own)
        shutil.rmtree(_OWN)


def _is_domain(words: list[str]) -> bool:
    """Say whether libvirt started a qemu: it names it so."""
    return any(word.startswith("guest=") for word in words)


def _started(command: list[str]) -> None:
    start(command, _ENVIRONMENT, _OWN / "start.log")


def _virsh(*words: str, limit_s: float = _LIMIT_S) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["virsh", "--quiet", "--connect", URI, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
            env=_ENVIRONMENT,
        )
    except FileNotFoundError:
        raise DriverError("virsh is not installed; `apt install libvirt-clients`") from None
    except subprocess.TimeoutExpired:
        raise DriverError(
            f"virsh {words[0]} did not end within {limit_s:.0f} s; is libvirtd stuck?"
        ) from None
