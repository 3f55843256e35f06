"""What drivers have in common whose nodes boot: where things lie, and waiting for SLURM in them."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from ai_how.drivers.base import DriverError, Say
from ai_how.drivers.ready import refuse_ended, until_ready
from ai_how.plan.nodes import Node
from ai_how.plan.plan import Plan
from ai_how.slurm.conf import JOB_RECORD

SLURMD_PORT = 6818
_CONNECT_S = 1.0
_FAILED = ["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"]


class BootedNodes(ABC):
    """The booted nodes of one cluster. `folder` holds all that is theirs but the bridge."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "etc" / "slurm.conf"
        self.nodes = folder / "nodes"

    def environment(self) -> Mapping[str, str]:
        """Return the environment in which this machine's SLURM commands speak to the cluster."""
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def running(self) -> dict[str, int]:
        """Return the process of each node that is up, the controller's as `controller`."""
        head = self._controller()
        return {
            "controller" if name == head else name: pid for name, pid in self._processes().items()
        }

    def job_record(self, plan: Plan) -> Path:
        """Return the file in which the controller records jobs that ended."""
        return self.folder / "log" / plan.controller.name / JOB_RECORD

    def logs(self, node: str) -> list[Path]:
        """Return the log files of a node; `controller` has slurmctld's and slurmdbd's."""
        name = self._controller() if node == "controller" else node
        own = ("slurmctld", "slurmdbd") if node == "controller" else (f"slurmd-{node}",)
        log = self.folder / "log" / name
        return [self._console(name), *[log / f"{part}.log" for part in own]]

    @abstractmethod
    def _controller(self) -> str:
        """Return the name of the controller that was made; empty where none was."""

    @abstractmethod
    def _processes(self) -> dict[str, int]:
        """Return the process whose end is a node's, of each that runs, by the node's name."""

    @abstractmethod
    def _printed_in(self, node: str, command: Sequence[str]) -> str:
        """Run a command in a node and return what it printed. Raises DriverError if it cannot."""

    def _owner(self) -> str:
        return f"ai-how {self.folder}"

    def _console(self, node: str) -> Path:
        return self.folder / "log" / f"console-{node}.log"

    def _node_folders(self) -> list[Path]:
        return sorted(self.nodes.iterdir()) if self.nodes.is_dir() else []

    def _until_ready(
        self,
        plan: Plan,
        on: Sequence[Node],
        off: Sequence[str],
        say: Say,
        *,
        new: Collection[str],
        limit_s: float,
        pause_s: float,
        silent_s: float,
    ) -> None:
        """Wait until SLURM gives jobs to the nodes that are `on`, of which `new` were just booted.

        Raises DriverError.
        """
        log = self.folder / "log"
        late = {node.name: node.ip or node.name for node in on if node.name in new}

        def begun(name: str) -> bool:
            if name in late and _listens(late[name]):
                del late[name]
            return name not in late

        names = [node.name for node in on]
        until_ready(
            plan,
            off,
            self.environment(),
            say,
            log,
            check=partial(refuse_ended, time.monotonic(), names, self._processes, log),
            revive=partial(self._revive, plan, say),
            begun=begun,
            limit_s=limit_s,
            pause_s=pause_s,
            silent_s=silent_s,
        )

    def _revive(self, plan: Plan, say: Say, names: Collection[str]) -> None:
        """Start what has failed in nodes that do not answer; one that still boots is let be."""
        for node in plan.nodes:
            if node.name not in names or node.name not in self._processes():
                continue
            with contextlib.suppress(DriverError):
                lines = self._printed_in(node.name, _FAILED).splitlines()
                if failed := [line.split()[0] for line in lines if line]:
                    self._printed_in(node.name, ["systemctl", "restart", "--no-block", *failed])
                    say(f"{node.name}: {', '.join(failed)} had failed, and is started again")


def _listens(address: str) -> bool:
    """Say whether a slurmd listens at an address."""
    try:
        with socket.create_connection((address, SLURMD_PORT), timeout=_CONNECT_S):
            return True
    except OSError:
        return False
