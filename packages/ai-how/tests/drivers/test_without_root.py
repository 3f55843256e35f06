"""A user who is not root gets a cluster too, private to that user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# Everything is imported before the rights are given up: the interpreter may be root's own.
_AS_NOBODY = """
import encodings.utf_8_sig, encodings.idna, json, os, sys
from pathlib import Path
import ai_how.cluster.doctor
from ai_how.cluster import lifecycle
from ai_how.cluster.state import known_clusters
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
found = lifecycle.up(sys.argv[1], lambda _: None)
pids = lifecycle.made("small")[2].running().values()
owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids}
key = Path(os.environ["AI_HOW_STATE"], "small", "etc", "keys", "munge.key").stat()
lifecycle.destroy("small")
print(json.dumps([found.condition, found.verified, sorted(owners), oct(key.st_mode & 0o777),
                  known_clusters()]))
"""


@pytest.mark.real
def test_up_and_destroy_without_root(small: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ah-", dir="/tmp") as root:
        folder = Path(root)
        yaml = folder / "small.yaml"
        yaml.write_text(small.read_text())
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir(0o700)
        if os.geteuid() == 0:
            os.chown(home, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(yaml)],
            env={**os.environ, "AI_HOW_STATE": str(home / "state"), "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        condition, verified, owners, mode, left = json.loads(done.stdout)
        assert condition == "up"
        assert (verified["nodes"], verified["gres"]) == (["n01", "n02"], True)
        assert owners == [65534 if os.geteuid() == 0 else os.geteuid()]
        assert (mode, left) == ("0o400", [])
