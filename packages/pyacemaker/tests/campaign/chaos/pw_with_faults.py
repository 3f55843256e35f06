"""Stands in for pw.x in the chaos test: the real program, now and then hurt in some way.

    python pw_with_faults.py FAULTS_FOLDER REAL_COMMAND... -i pw.in

A structure's fault depends on its input only, and hits its first attempts only (each is noted
in FAULTS_FOLDER before it strikes), so every structure can be labelled in the end.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

FAULTS = (
    "none",
    "crash",
    "hang",
    "cut-text",
    "cut-xml",
    "file-size",
    "wrong-energy",
    "other-structure",
    "kill-campaign",
    "exit",
)


def main() -> int:
    """Run the program under the fault of its input."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    positions = re.sub(r"(?s).*ATOMIC_POSITIONS", "", Path("pw.in").read_text())
    name = hashlib.sha256(positions.encode()).hexdigest()[:16]
    number = int((folder / f"{name}.number").read_text())
    struck = folder / f"{name}.struck"
    fault = "none" if struck.exists() else FAULTS[number % len(FAULTS)]
    if fault in {"exit", "hang", "crash", "kill-campaign"}:
        return _before_its_end(fault, command, struck)
    if fault == "file-size":
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    status = subprocess.run(command, check=False).returncode
    _spoil(fault)
    struck.touch()
    if fault == "cut-text":
        os.kill(os.getpid(), signal.SIGKILL)
    return status


def _before_its_end(fault: str, command: list[str], struck: Path) -> int:
    if fault == "hang":
        print("     Program PWSCF v.7.2 starts on nothing", flush=True)
        time.sleep(2)
        struck.touch()
        time.sleep(3600)
    if fault != "exit":
        child = subprocess.Popen(command)
        time.sleep(0.7)
        child.kill()
    struck.touch()
    if fault == "kill-campaign":
        os.kill(os.getppid(), signal.SIGKILL)  # and the kernel kills us with it
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    return 3


def _spoil(fault: str) -> None:
    xml = Path("out/pwscf.save/data-file-schema.xml")
    if fault == "cut-xml":
        data = xml.read_bytes()
        xml.write_bytes(data[: len(data) // 2])
    elif fault == "wrong-energy":
        text = xml.read_text()
        energy = re.findall(r"<etot>(.*?)</etot>", text)[-1]
        xml.write_text(text.replace(energy, f"{float(energy) - 0.01:.15e}"))
    elif fault == "other-structure":
        text = xml.read_text()
        changed = re.sub(r'(<atom name="Si" index="2">)\S+', r"\g<1>1.0e-1", text)
        assert changed != text
        xml.write_text(changed)
    elif fault == "cut-text":
        os.truncate("pw.out", Path("pw.out").stat().st_size // 2)


if __name__ == "__main__":
    sys.exit(main())
