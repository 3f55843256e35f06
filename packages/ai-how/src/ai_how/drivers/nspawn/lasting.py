"""What of a cluster lies outside its nodes' roots, and outlasts them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.nspawn import contents, keys, root
from ai_how.files import write_whole
from ai_how.plan.plan import Plan


def write_own_files(folder: Path, plan: Plan, common: Mapping[str, str]) -> None:
    """Write what this machine's commands and Ansible read."""
    texts = {f"nodes/{name}": text for name, text in common.items()}
    texts["slurm.conf"] = contents.host_conf(plan, folder / "run" / "munge.socket")
    texts["known_hosts"] = keys.known_hosts(folder, plan)
    texts["addresses.json"] = json.dumps({n.name: n.ip for n in plan.nodes}, indent=1) + "\n"
    for name, text in texts.items():
        path = folder / "etc" / name
        if not path.exists() or path.read_text() != text:
            write_whole(path, text)
    for name in ("jwt.key", "munge.key"):
        (folder / "etc" / "keys" / name).chmod(0o400)


def make_data(folder: Path, tree: Path) -> None:
    """Make the folders of database and slurmctld's state, with the owners of the image `tree`."""
    database = folder / "data" / "mysql"
    if not database.exists():
        new = folder / "data" / "mysql.new"
        shutil.rmtree(new, ignore_errors=True)
        done = subprocess.run(
            ["cp", "--archive", "--reflink=auto", tree / "var/lib/mysql", new],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise DriverError(f"{database} cannot be made: {done.stderr.strip()}")
        new.rename(database)
    state = folder / "data" / "slurmctld"
    state.mkdir(exist_ok=True)
    os.chown(state, *root.owner_in(tree, "slurm"))
