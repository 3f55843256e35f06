"""Whether guests run on the processor's own virtualisation: only where one was seen to boot.

A /dev/kvm that opens proves little: in nested virtualisation guests may hang at their first
instruction. So a guest kernel is booted, without a disk, until it finds none and panics.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from ai_how.files import write_whole
from ai_how.images.store import cache_dir

EMULATOR = "qemu-system-x86_64"
_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LIMIT_S = 15.0
_SEEN = "Kernel panic - not syncing: VFS"


@dataclass(frozen=True)
class Acceleration:
    """``kvm`` or ``qemu`` (emulation, by TCG), as libvirt calls it; `why` it is not the former."""

    kind: str
    why: str
    boot_id: str


def known_acceleration() -> Acceleration | None:
    """Return what is known without a try: None where one would have to be made."""
    if why := _closed():
        return Acceleration("qemu", why, "")
    try:
        found = Acceleration(**json.loads(_record().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.boot_id == _boot_id() else None


def why_emulated() -> str:
    """Return why guests are emulated here; empty where they are not, or it is not known yet."""
    known = known_acceleration()
    return known.why if known is not None and known.kind == "qemu" else ""


def acceleration(kernel: Path) -> Acceleration:
    """Return how guests run here; tried once after each boot of this machine, then remembered."""
    if (known := known_acceleration()) is not None:
        return known
    why = try_kernel(kernel, "kvm")
    found = Acceleration("qemu" if why else "kvm", why, _boot_id())
    write_whole(_record(), json.dumps(asdict(found), indent=1) + "\n")
    return found


def try_kernel(kernel: Path, kind: str, limit_s: float = _LIMIT_S) -> str:
    """Boot a kernel without a disk; return why it did not boot, or nothing where it did.

    `kind` is qemu's name of an accelerator: ``kvm`` or ``tcg``.
    """
    with tempfile.TemporaryDirectory(prefix="ah-probe-") as folder:
        console = Path(folder) / "console"
        command = [
            *["setpriv", "--pdeathsig", "KILL", "--", EMULATOR, "-machine", f"q35,accel={kind}"],
            *["-m", "256", "-nodefaults", "-display", "none", "-no-reboot"],
            *["-serial", f"file:{console}", "-kernel", str(kernel)],
            *["-append", "console=ttyS0 panic=-1"],
        ]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=limit_s,
            )
            failure = (done.stderr.strip().splitlines() or ["it ended"])[-1]
        except OSError as error:
            return f"{EMULATOR} cannot be run ({error.strerror})"
        except subprocess.TimeoutExpired:
            failure = f"no guest kernel boots within {limit_s:.0f} s"
        said = console.read_text(errors="replace") if console.exists() else ""
    return "" if _SEEN in said else failure


def _closed() -> str:
    if not _KVM.exists():
        return f"this machine has no {_KVM}"
    if not os.access(_KVM, os.R_OK | os.W_OK):
        return f"{_KVM} cannot be opened"
    return ""


def _record() -> Path:
    return cache_dir() / ".acceleration.json"


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()
