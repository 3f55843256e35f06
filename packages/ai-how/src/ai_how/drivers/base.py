"""What a driver is: it makes nodes, and knows nothing of the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ai_how.errors import AiHowError
from ai_how.plan.plan import Plan

Say = Callable[[str], None]


class DriverError(AiHowError):
    """Nodes could not be made or ended; the message says which, why and what helps."""


class Driver(Protocol):
    """Makes and ends the nodes of one cluster.

    Every call may come at any time, in any state that a kill -9 left behind, and more than
    once: it looks at what is there and does the rest.
    """

    @property
    def name(self) -> str:
        """Its name in a cluster file."""

    def missing(self) -> list[str]:
        """Return what this machine lacks, each with its remedy."""

    def up(self, plan: Plan, off: Sequence[str], say: Say) -> None:
        """Make all that the plan wants, and start every node but `off`. Raises DriverError."""

    def stop(self, names: Sequence[str]) -> None:
        """End nodes, at once."""

    def down(self) -> None:
        """End every node; what is on disk stays."""

    def destroy(self) -> None:
        """End every node and remove all that was made outside the cluster's folder."""

    def running(self) -> dict[str, int]:
        """Return the process of each node that is up, the controller by the name `controller`."""

    def faults(self) -> list[str]:
        """Return what must run for SLURM to answer and does not, each with its remedy."""

    def node_faults(self, plan: Plan, off: Sequence[str]) -> list[str]:
        """Return what is wrong in nodes that run, but `off`, and that SLURM may not notice."""

    def environment(self) -> Mapping[str, str]:
        """Return the environment in which SLURM's commands speak to this cluster."""

    def inventory(self, plan: Plan) -> dict[str, object]:
        """Return the nodes as an Ansible inventory: addresses, groups and facts."""

    def run_in(self, node: str, command: Sequence[str]) -> int:
        """Run a command in a node, on this terminal, and return its exit status."""

    def ssh_command(self, node: str) -> list[str]:
        """Return the command that opens a shell on a node. Raises DriverError if none can."""

    def job_record(self, plan: Plan) -> Path:
        """Return the file in which the controller records jobs that ended."""

    def logs(self, node: str) -> list[Path]:
        """Return the log files of a node."""
