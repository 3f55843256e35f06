"""Whether this machine can hold nodes of the driver `nspawn`; each lack with its remedy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ai_how.drivers.daemons import PROGRAM_PATH
from ai_how.drivers.nspawn import cgroups
from ai_how.drivers.nspawn.root import overlay_options
from ai_how.plan.ability import nspawn_lacks

PROGRAMS = {
    "ip": "iproute2",
    "mount": "mount",
    "munged": "munge",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "sinfo": "slurm-client",
    "srun": "slurm-client",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
# Mounts made and a cable pulled in a namespace of their own: nothing of it is seen outside.
_PROBE = """
set -e
mount -t tmpfs none {folder}/scratch
mkdir {folder}/scratch/lower {folder}/scratch/upper {folder}/scratch/work
mount -t overlay -o {overlay} none {folder}/root
ip link add name ah-probe type bridge
ip link add name ah-probe0 type veth peer name ah-probe1
"""


def lacks(folder: Path) -> list[str]:
    """Return what this machine lacks for clusters whose state is in `folder`. Touches nothing."""
    found = list(nspawn_lacks())
    found += [
        f"{program} is not installed; `apt install {package}`"
        for program, package in PROGRAMS.items()
        if shutil.which(program, path=PROGRAM_PATH) is None
    ]
    if why := cgroups.missing():
        found.append(why)
    if not re.fullmatch(r"[\w./+-]+", str(folder)) or len(str(folder)) > 80:
        found.append(
            f"{folder} is too long, or holds a character that mounts and sockets cannot take; "
            "set AI_HOW_STATE to a plain, shorter folder"
        )
    return found


def probe() -> str | None:
    """Try a mount and a bridge where nobody sees them; return why it cannot be, or None.

    Root in a container may have neither, whatever its name is.
    """
    with tempfile.TemporaryDirectory(prefix="ah-probe-") as name:
        folder = Path(name)
        scratch = folder / "scratch"
        for path in (scratch, folder / "root"):
            path.mkdir()
        overlay = overlay_options(scratch / "lower", scratch / "upper", scratch / "work")
        script = _PROBE.format(folder=folder, overlay=overlay)
        command = ["unshare", "--mount", "--net", "sh", "-c", script]
        return _failure(command)


def _failure(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"mounts and network interfaces cannot be made here ({error})"
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return f"mounts and network interfaces cannot be made here ({said}); use `driver: process`"
    return None
