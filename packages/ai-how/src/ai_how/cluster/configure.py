"""The Ansible playbook, run on a cluster's nodes: what is not part of the image and its start."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ai_how.drivers.base import Driver, DriverError, Say
from ai_how.files import write_whole
from ai_how.plan.plan import Plan

_LIMIT_S = 1800.0


def playbooks() -> Path:
    """Return the folder of playbooks and roles: in the package, or beside its sources."""
    package = Path(__file__).parent.parent
    for folder in (package / "ansible", package.parent.parent / "ansible"):
        if (folder / "site.yml").is_file():
            return folder
    raise DriverError(f"the playbooks are not beside {package}; install ai-how again")


def program(name: str) -> str | None:
    """Return a program beside this Python, or in the PATH."""
    own = Path(sys.executable).parent / name
    return str(own) if own.is_file() else shutil.which(name)


def wants_configuring(plan: Plan) -> bool:
    """Say whether the file asks for what only the playbook gives."""
    return bool(plan.services) or plan.storage != "host"


def missing(plan: Plan) -> list[str]:
    """Return what this machine lacks to run the playbook for a plan, each with its remedy."""
    found = []
    if program("ansible-playbook") is None:
        found.append("ansible-playbook is not installed; `pip install 'ai-how[ansible]'`")
    if plan.storage == "seaweedfs" and program("weed") is None:
        found.append("weed is not installed; `pip install 'ai-how[seaweedfs]'`")
    return found


def is_configured(plan: Plan, driver: Driver, folder: Path) -> bool:
    """Say whether the last run of this playbook was on these nodes, with these variables."""
    record = folder / "etc" / "configured"
    return record.exists() and record.read_text() == _digest(plan, driver)


def _digest(plan: Plan, driver: Driver) -> str:
    said = [driver.inventory(plan), plan.role_variables]
    parts = [json.dumps(said, sort_keys=True).encode()]
    parts += [path.read_bytes() for path in sorted(playbooks().rglob("*")) if path.is_file()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def configure(
    plan: Plan, driver: Driver, folder: Path, say: Say, *, check: bool = False
) -> dict[str, int]:
    """Run the playbook on all nodes; return its totals (ok, changed, failures, unreachable).

    With `check` nothing is changed. Raises DriverError with the first task that failed.
    """
    if plan.driver == "process":
        raise DriverError(
            "nodes of the driver 'process' are this machine, and are not configured; "
            "take `driver: nspawn` or `libvirt`"
        )
    if lacking := missing(plan):
        raise DriverError("; ".join(lacking))
    inventory = folder / "etc" / "inventory"
    write_whole(inventory.with_suffix(".json"), json.dumps(driver.inventory(plan), indent=1))
    write_whole(inventory, f"#!/bin/sh\ncat '{inventory}.json'\n")
    inventory.chmod(0o700)
    log = folder / "log" / "ansible.log"
    command = [
        program("ansible-playbook") or "",
        "--inventory",
        str(inventory),
        *(["--check"] if check else []),
        "--extra-vars",
        json.dumps({"shared_storage_weed": program("weed") or "weed", **plan.role_variables}),
        str(playbooks() / "site.yml"),
    ]
    say(f"the playbook runs on {len(plan.compute) + 1} nodes")
    lines = _lines(command, log, say)
    totals = _totals(lines)
    if not totals or totals["failures"] or totals["unreachable"]:
        raise DriverError(f"{_first_failure(lines)}; see {log}")
    if not check:
        write_whole(folder / "etc" / "configured", _digest(plan, driver))
    say(f"the playbook is done: {totals['ok']} tasks, {totals['changed']} changed something")
    return totals


def _lines(command: list[str], log: Path, say: Say) -> list[str]:
    """Run it, tell of each play, and return all it said, which also goes to the file `log`."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(playbooks() / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCAL_TEMP": str(log.parent.parent / "run" / "ansible"),
        "LC_ALL": "C.UTF-8",
    }
    found = []
    with log.open("w", encoding="utf-8", buffering=1) as stream:  # it is looked at meanwhile
        runner = subprocess.Popen(
            ["timeout", "--kill-after=10", f"{_LIMIT_S:.0f}", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd="/",
        )
        assert runner.stdout is not None  # noqa: S101 - it was asked for
        try:
            for line in runner.stdout:
                stream.write(line)
                found.append(line.rstrip("\n"))
                if line.startswith("PLAY ["):
                    say(f"playbook: {line.partition('[')[2].partition(']')[0].lower()}")
            runner.wait()
        finally:
            if runner.poll() is None:
                runner.kill()
                runner.wait()
            runner.stdout.close()
    return found


def _totals(lines: list[str]) -> dict[str, int]:
    """Add up the recap's lines: ``n01 : ok=9 changed=0 unreachable=0 failed=0 ...``."""
    if not any(line.startswith("PLAY RECAP") for line in lines):
        return {}
    start = next(i for i, line in enumerate(lines) if line.startswith("PLAY RECAP"))
    found = {"ok": 0, "changed": 0, "unreachable": 0, "failures": 0}
    names: Mapping[str, str] = {"failed": "failures"}
    for line in lines[start + 1 :]:
        for word in line.partition(" : ")[2].split():
            key, _, number = word.partition("=")
            name = names.get(key, key)
            if name in found:
                found[name] += int(number)
    return found


def _first_failure(lines: list[str]) -> str:
    task = "the playbook"
    for line in lines:
        if line.startswith("TASK ["):
            task = line.partition("[")[2].partition("]")[0]
        if line.startswith(("fatal:", "[ERROR]", "ERROR!")):
            return f"{task}: {line[:300]}"
    return "the playbook did not end well"
