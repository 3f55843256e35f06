"""The driver `process`: every slurmd is a process of this machine, with a port of its own.

Debian builds slurmd with --enable-multiple-slurmd: ``slurmd -N NAME`` is the node NAME. All
daemons speak over the loopback interface and trust one munged with a key and a socket of the
cluster's own, so that several clusters, and a SLURM of the machine itself, do not meet.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ai_how.drivers.base import DriverError, Say
from ai_how.drivers.daemons import PROGRAM_PATH, Daemon, daemons_of, end, end_jobs, start
from ai_how.drivers.munge import munge_answers, run_munged
from ai_how.drivers.ports import are_free, choosing, free_base, preferred_base
from ai_how.drivers.process_faults import (
    disk_faults,
    key_faults,
    mend_disks,
    mend_key,
    set_state_aside,
    sign_key,
    unreadable_state,
)
from ai_how.drivers.ready import until_ready
from ai_how.files import write_whole
from ai_how.plan.plan import Plan
from ai_how.slurm.commands import SlurmError, ask, resume, set_down
from ai_how.slurm.conf import JOB_RECORD, Site, gres_conf, slurm_conf

_PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sinfo": "slurm-client",
    "srun": "slurm-client",
}
_LONGEST_FOLDER = 80  # a socket's path has at most 107 bytes (unix(7))
_GONE_S = 1.0  # not seen for so long it has ended; while it forks it may be missed
_SURVIVES_S = 30.0  # it answers, or ends because it cannot read its state, long before
_AT_ONCE = 8  # daemons started at the same time
# Where no device can be made, these stand for GPUs: they exist everywhere and harm nothing.
_HARMLESS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class ProcessDriver:
    """Daemons of one cluster, all on this machine. `folder` holds everything they write."""

    name = "process"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "etc" / "slurm.conf"

    def missing(self) -> list[str]:
        """Return the programs this machine lacks, each with the package that brings it."""
        found = [
            f"{program} is not installed; `apt install {package}`"
            for program, package in _PROGRAMS.items()
            if shutil.which(program, path=PROGRAM_PATH) is None
        ]
        if len(str(self.folder)) > _LONGEST_FOLDER:
            found.append(
                f"{self.folder} is too long a name for sockets in it; set AI_HOW_STATE to a "
                "shorter folder"
            )
        if (open_folder := _written_by_others(self.folder)) is not None:
            found.append(
                f"{open_folder} may be written by other users, who could change the cluster's key; "
                "set AI_HOW_STATE to a folder of your own"
            )
        return found

    def environment(self) -> Mapping[str, str]:
        """Return this process's environment with the cluster's SLURM_CONF."""
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def running(self) -> dict[str, int]:
        """Return the daemon of each node that is up; slurmctld stands for the controller."""
        found = {}
        for daemon in daemons_of(self.folder):
            if daemon.program == "slurmctld":
                found["controller"] = daemon.pid
            elif daemon.node is not None:
                found[daemon.node] = daemon.pid
        return found

    def faults(self) -> list[str]:
        """Return which of munged and slurmctld do not run; a munged may run and not answer."""
        have = {daemon.program for daemon in daemons_of(self.folder)}
        found = [
            f"{program} does not run; `ai-how up` starts it"
            for program in ("munged", "slurmctld")
            if program not in have
        ]
        if "munged" in have and not munge_answers(self.folder / "run" / "munge.socket"):
            found.append("munged does not answer; `ai-how up` starts it anew")
        return found

    def node_faults(self, plan: Plan, off: Sequence[str]) -> list[str]:
        """Return what is wrong though all daemons run: the munge key, full disks."""
        names = [node.name for node in plan.compute if node.name not in off]
        return [*key_faults(self.folder), *disk_faults(self.folder, names)]

    def up(self, plan: Plan, off: Sequence[str], say: Say) -> None:
        """Make all that the plan wants, and start every node but `off`. Raises DriverError."""
        if missing := self.missing():
            raise DriverError("; ".join(missing))
        for name in ("etc", "run", "log", "spool", "state", "dev", "shared"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for private in ("etc/keys", "state"):
            (self.folder / private).mkdir(exist_ok=True)
            (self.folder / private).chmod(0o700)
        try:
            claim = choosing()
        except OSError as error:
            raise DriverError(str(error)) from None
        with claim:
            site = self._site(plan)
            if self._configure(plan, site):
                say("configuration changed: daemons are started anew")
                self._end(lambda daemon: daemon.program != "munged")
            if mend_key(self.folder, say):
                self._end(lambda _: True)
            run_munged(self.folder, self._daemon_environment(), say)
            sign_key(self.folder)
            mended = mend_disks(
                self.folder, [n.name for n in plan.compute if n.name not in off], say
            )
            if running_though_off := [name for name in self.running() if name in off]:
                self.stop(running_though_off)
            self._daemons(plan, off, say)
        if mended:
            with contextlib.suppress(SlurmError):
                resume(mended, self.environment())
        until_ready(plan, off, self.environment(), say, self.folder / "log")

    def stop(self, names: Sequence[str]) -> None:
        """End nodes as a power cut would; slurmctld, if it answers, requeues their jobs at once."""
        end((d.pid for d in daemons_of(self.folder) if d.node in names), at_once=True)
        for name in names:
            end_jobs(self.folder, name)
        with contextlib.suppress(SlurmError):
            set_down(names, "stopped by ai-how", self.environment())

    def down(self) -> None:
        """End daemons and jobs. The queue is kept: jobs start again when it is up again.

        slurmctld goes first: it saves its state with the jobs running, and finds them gone, to
        be requeued, when it comes back.
        """
        self._end(lambda daemon: daemon.program == "slurmctld")
        self._end(lambda daemon: daemon.program == "slurmd")
        end_jobs(self.folder)
        self._end(lambda daemon: daemon.program == "munged")

    def destroy(self) -> None:
        """End everything; all that was made is in the cluster's folder."""
        self.down()

    def inventory(self, plan: Plan) -> dict[str, object]:
        """Return the nodes as an Ansible inventory: addresses, groups and facts."""
        facts = {
            "ansible_connection": "local",
            "cgroup_mode": "none",
            "shared": plan.shared or str(self.folder / "shared"),
            "fuse": Path("/dev/fuse").exists(),
        }
        hosts = {
            node.name: {
                "ansible_host": "127.0.0.1",
                "gpu_source": "fake" if node.gpus else "none",
                **facts,
            }
            for node in plan.nodes
            if node.cluster == "hpc"
        }
        return {
            "_meta": {"hostvars": hosts},
            "all": {"children": ["controller", "compute"]},
            "controller": {"hosts": [plan.controller.name]},
            "compute": {"hosts": [node.name for node in plan.compute]},
        }

    def run_in(self, node: str, command: Sequence[str]) -> int:
        """Run a command here, in the cluster's environment: the node is this machine."""
        environment = {**self.environment(), "SLURMD_NODENAME": node}
        try:
            return subprocess.run(list(command), env=environment, check=False).returncode
        except OSError as error:
            raise DriverError(f"{command[0]}: {error.strerror}") from None

    def ssh_command(self, node: str) -> list[str]:
        """Return a shell here in the node's environment: the node is this machine.

        Words after it are given to the shell as ssh would give them to a remote one.
        """
        shell = (
            'if [ $# -eq 0 ]; then exec "${SHELL:-/bin/sh}"; fi; exec "${SHELL:-/bin/sh}" -c "$*"'
        )
        own = [f"SLURM_CONF={self.conf}", f"SLURMD_NODENAME={node}"]
        return ["env", *own, "sh", "-c", shell, node]

    def job_record(self, plan: Plan) -> Path:
        """Return the file in which the controller records jobs that ended."""
        return self.folder / "log" / JOB_RECORD

    def logs(self, node: str) -> list[Path]:
        """Return the log files of a node; `controller` has slurmctld's and munged's."""
        log = self.folder / "log"
        if node == "controller":
            return [log / "slurmctld.log", log / "munged.log"]
        return [log / f"slurmd-{node}.log"]

    def _end(self, which: Callable[[Daemon], bool]) -> None:
        end(daemon.pid for daemon in daemons_of(self.folder) if which(daemon))

    def _site(self, plan: Plan) -> Site:
        names = [node.name for node in plan.compute]
        record = self.folder / "ports.json"
        base = _recorded_base(record, len(names) + 1)
        up = {daemon.node or daemon.program for daemon in daemons_of(self.folder)}
        idle = [index for index, who in enumerate(["slurmctld", *names]) if who not in up]
        if base is None or not are_free(base + index for index in idle):
            try:
                base = free_base(plan.name, len(names) + 1)
            except OSError as error:
                raise DriverError(str(error)) from None
            write_whole(record, json.dumps({"base": base, "count": len(names) + 1}))
        files = {node.name: self._gpu_files(node.name, node.gpus) for node in plan.compute}
        return process_site(plan, self.folder, base, files)

    def _gpu_files(self, name: str, count: int) -> list[str]:
        """Return character devices that stand for GPUs; gres.conf(5) wants one for each."""
        files = [self.folder / "dev" / name / f"gpu{index}" for index in range(count)]
        for path in files:
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # another /dev/null
            except PermissionError:
                if count > len(_HARMLESS):
                    raise DriverError(
                        f"only root can make more than {len(_HARMLESS)} emulated GPUs for a node; "
                        f"lower gpus.count (it is {count})"
                    ) from None
                return list(_HARMLESS[:count])
            path.chmod(0o666)
        return [str(path) for path in files]

    def _configure(self, plan: Plan, site: Site) -> bool:
        """Write the files that differ; say whether running daemons have to be told."""
        changed = False
        for name, text in (
            ("slurm.conf", slurm_conf(plan, site)),
            ("gres.conf", gres_conf(plan, site)),
        ):
            path = self.folder / "etc" / name
            if not path.exists() or path.read_text() != text:
                # The daemons go first: one that lives always has the file that is there.
                changed = changed or any(
                    daemon.program != "munged" for daemon in daemons_of(self.folder)
                )
                if changed:
                    self._end(lambda daemon: daemon.program != "munged")
                write_whole(path, text)
                path.chmod(0o644)
        return changed

    def _daemons(self, plan: Plan, off: Sequence[str], say: Say) -> None:
        environment, log = self._daemon_environment(), self.folder / "log"
        if not self._by_program("slurmctld"):
            self._slurmctld(environment, say)
        have = {daemon.node for daemon in self._by_program("slurmd")}
        wanted = [node.name for node in plan.compute if node.name not in off]
        strangers = have - {node.name for node in plan.compute}
        self._end(lambda daemon: daemon.node in strangers and daemon.node is not None)
        new = [name for name in wanted if name not in have]

        def start_node(name: str) -> None:
            command = ["slurmd", "-N", name, "-f", str(self.conf)]
            start(command, environment, log / f"start-slurmd-{name}.log")

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(start_node, new))  # raises the first failure
        if new:
            say(f"{len(new)} slurmd started")

    def _slurmctld(self, environment: dict[str, str], say: Say) -> None:
        """Start slurmctld; where it cannot read what it saved, without that."""
        command, log = ["slurmctld", "-f", str(self.conf)], self.folder / "log"
        before, until = _size(log / "slurmctld.log"), time.monotonic() + _SURVIVES_S
        start(command, environment, log / "start-slurmctld.log")
        now = seen = time.monotonic()
        while now < seen + _GONE_S and now < until:
            if _answers(self.environment()):
                say("slurmctld runs")
                return
            now = time.monotonic()
            if self._by_program("slurmctld"):
                seen = now
            time.sleep(0.02)
        if now >= until:  # it lives, and does not answer yet
            say("slurmctld runs")
            return
        if _size(log / "slurmctld.log") <= before or not unreadable_state(log / "slurmctld.log"):
            raise DriverError(f"slurmctld ended at once; see {log / 'slurmctld.log'}")
        aside = set_state_aside(self.folder / "state")
        say(f"slurmctld cannot read its state: begun anew, jobs are forgotten; {aside} keeps it")
        start(command, environment, log / "start-slurmctld.log")

    def _by_program(self, program: str) -> list[Daemon]:
        return [d for d in daemons_of(self.folder) if d.program == program]

    def _daemon_environment(self) -> dict[str, str]:
        return {"PATH": PROGRAM_PATH, "LANG": "C.UTF-8", "HOME": "/", "SLURM_CONF": str(self.conf)}


def process_site(
    plan: Plan, folder: Path, base: int, files: Mapping[str, Sequence[str]] | None = None
) -> Site:
    """Return where the daemons of a cluster in `folder` live; their ports begin at `base`."""
    host = socket.gethostname().partition(".")[0]
    names = [node.name for node in plan.compute]
    return Site(
        controller=f"{host}(127.0.0.1)",
        controller_port=base,
        user=pwd.getpwuid(os.geteuid()).pw_name,
        etc=folder / "etc",
        run=folder / "run",
        log=folder / "log",
        spool=folder / "spool",
        state=folder / "state",
        munge_socket=folder / "run" / "munge.socket",
        node_ports={name: base + 1 + index for index, name in enumerate(names)},
        node_addresses=dict.fromkeys(names, (host, "127.0.0.1")),
        gpu_files=files
        or {
            node.name: [f"{folder}/dev/{node.name}/gpu{index}" for index in range(node.gpus)]
            for node in plan.compute
        },
    )


def rendered(plan: Plan, folder: Path) -> dict[str, str]:
    """Return the files that `up` would write, by name, with the ports it would like best."""
    site = process_site(plan, folder, preferred_base(plan.name))
    return {"slurm.conf": slurm_conf(plan, site), "gres.conf": gres_conf(plan, site)}


def _recorded_base(record: Path, count: int) -> int | None:
    try:
        found = json.loads(record.read_text())
        return int(found["base"]) if int(found["count"]) >= count else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _written_by_others(folder: Path) -> Path | None:
    """Return the folder on the way that others may write to (a sticky one, as /tmp, is safe)."""
    for path in (folder, *folder.parents):
        if path.exists():
            mode = path.stat().st_mode
            if mode & 0o022 and not mode & stat.S_ISVTX:
                return path
    return None


def _answers(environment: Mapping[str, str]) -> bool:
    try:
        ask(["scontrol", "ping"], environment, limit_s=5)
    except SlurmError:
        return False
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
