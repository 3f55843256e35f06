"""The driver `nspawn`: each node boots a Debian of its own in a container of systemd.

A node is an overlay over one image that all share, a network cable to a bridge of this machine,
and a systemd-nspawn. All that a node must know is written into it before it boots, so that
nothing is left to do afterwards. What is to last (the database, slurmctld's state, logs) lies
outside the nodes' roots, in the cluster's folder: any root can be made anew from the image.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ai_how.drivers.base import DriverError, Say
from ai_how.drivers.booted import BootedNodes
from ai_how.drivers.inventory import inventory_of
from ai_how.drivers.munge import end_munged, munge_faults, run_munged
from ai_how.drivers.nspawn import contents, disk, health, keys, lasting, root
from ai_how.drivers.nspawn.boots import boot_of
from ai_how.drivers.nspawn.cgroups import remove_group
from ai_how.drivers.nspawn.limits import refuse_too_many
from ai_how.drivers.nspawn.machine import (
    FUSE,
    NODE_ENVIRONMENT,
    Machine,
    boot,
    end_machines,
    inside,
    machine_name,
    machines_of,
    said_in,
)
from ai_how.drivers.nspawn.mounts import lower_of, unmount_below
from ai_how.drivers.nspawn.network import make_bridge, remove_bridge, until_unplugged
from ai_how.drivers.nspawn.record import Record, read_record, write_record
from ai_how.drivers.nspawn.requirements import lacks, probe
from ai_how.images import build, store
from ai_how.images.recipe import recipe
from ai_how.plan.nodes import Node
from ai_how.plan.plan import Plan
from ai_how.slurm.commands import SlurmError, resume, set_down

_AT_ONCE = 8
_READY_S, _READY_EACH_S = 90.0, 5.0


class NspawnDriver(BootedNodes):
    """Nodes in containers of systemd-nspawn."""

    name = "nspawn"

    def missing(self) -> list[str]:
        """Return what this machine lacks, each with its remedy."""
        if found := lacks(self.folder):
            return found
        why = probe()
        return [why] if why else []

    def up(self, plan: Plan, off: Sequence[str], say: Say) -> None:
        """Make all that the plan wants, and start every node but `off`. Raises DriverError."""
        for name in ("etc", "run", "log", "data", "shared"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for private in ("etc/keys", "data"):
            (self.folder / private).mkdir(exist_ok=True)
            (self.folder / private).chmod(0o700)
        net = next(net for net in plan.networks if net.cluster == "hpc")
        image = self._image(plan, say)
        wanted = [node for node in plan.nodes if node.cluster == "hpc"]
        self._away_with(
            {*machines_of(self.folder)} - {node.name for node in wanted if node.name not in off}
        )
        self._forget_strangers({node.name for node in wanted})
        on = [node for node in wanted if node.name not in off]
        refuse_too_many(len({node.name for node in on} - {*machines_of(self.folder)}))
        write_record(
            self.folder, Record(image.key, net.bridge, plan.controller.name, image.packages)
        )
        run_munged(self.folder, self._host_environment(), say)
        secrets = keys.secrets_of(self.folder)
        make_bridge(net, self._owner())
        common = contents.rendered(plan)
        lasting.write_own_files(self.folder, plan, common)
        lasting.make_data(self.folder, image.tree)
        roomy = self._make_room(on, image.tree, say)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            prepare = partial(self._prepare, plan, secrets, image.tree, common)
            changed = dict(zip((n.name for n in on), pool.map(prepare, on), strict=True))
        new = self._start(plan, on, changed, net.bridge, say)
        if roomy:
            with contextlib.suppress(SlurmError):  # those that failed jobs for want of space
                resume(roomy, self.environment())
        self._until_ready(
            plan,
            on,
            off,
            say,
            new=new,
            limit_s=_READY_S + _READY_EACH_S * len(on),
            pause_s=0.05,
            silent_s=10.0,
        )

    def stop(self, names: Sequence[str]) -> None:
        """End nodes as a power cut would; slurmctld, if it answers, requeues their jobs at once."""
        self._away_with(set(names))
        with contextlib.suppress(SlurmError):
            set_down(names, "stopped by ai-how", self.environment())

    def down(self) -> None:
        """Shut all nodes down, the controller first: it saves the queue with its jobs running."""
        head = self._controller()
        machines = machines_of(self.folder)
        end_machines([machine for name, machine in machines.items() if name == head])
        end_machines([m for name, m in machines.items() if name != head], limit_s=10)
        self._clear(machines)
        end_munged(self.folder)
        unmount_below(self.folder)

    def destroy(self) -> None:
        """End every node at once, and remove mounts and the bridge."""
        machines = machines_of(self.folder)
        end_machines(machines.values(), at_once=True)
        self._clear([folder.name for folder in self._node_folders()])
        end_munged(self.folder)
        unmount_below(self.folder)
        bridge = read_record(self.folder).bridge
        if bridge:
            remove_bridge(bridge, self._owner())

    def faults(self) -> list[str]:
        """Return what must run for SLURM to answer and does not, each with its remedy."""
        record = read_record(self.folder)
        found = disk.host_faults(self.folder) + munge_faults(self.folder)
        image = store.read_record(record.image) if record.image else None
        wrong = store.damage(image) if image else f"image {record.image}: it is gone"
        if wrong:
            found.append(f"{wrong}; `ai-how up` builds it anew")
        head = machines_of(self.folder).get(record.controller)
        if head is None:
            found.append(f"{record.controller or 'the controller'} is off; `ai-how up` starts it")
        return found

    def node_faults(self, plan: Plan, off: Sequence[str]) -> list[str]:
        """Return what is wrong inside the nodes that run, each with its remedy."""
        machines = machines_of(self.folder)
        nodes = [n for n in plan.nodes if n.name in machines and n.name not in off]
        socket = self.folder / "run" / "munge.socket"

        def look(node: Node) -> list[str]:
            place = self.nodes / node.name / "root"
            units, services = contents.units(plan, node), contents.services(plan, node)
            return health.faults(machines[node.name], place, units, services, socket)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [fault for found in pool.map(look, nodes) for fault in found]

    def inventory(self, plan: Plan) -> dict[str, object]:
        """Return the nodes as an Ansible inventory: addresses, the ssh key, groups and facts."""
        born = {node.name: root.born(self.nodes / node.name) for node in plan.nodes}
        # systemd-nspawn mounts the hierarchies of cgroups read only
        fuse = Path(FUSE).exists()
        return inventory_of(plan, self.folder, born, cgroup_mode="none", fuse=fuse)

    def run_in(self, node: str, command: Sequence[str]) -> int:
        """Run a command in a node, on this terminal, and return its exit status."""
        machine = self._machine(node)
        return subprocess.run(
            inside(machine, command),
            check=False,
            env={
                **NODE_ENVIRONMENT,
                "TERM": os.environ.get("TERM", "dumb"),
                "SLURMD_NODENAME": node,
            },
        ).returncode

    def ssh_command(self, node: str) -> list[str]:
        """Return the command that opens a shell on a node. Raises DriverError if it is off."""
        self._machine(node)
        address = keys.address_of(self.folder, node)
        key = keys.private_key(self.folder)
        return ["ssh", "-i", str(key), *keys.ssh_options(self.folder), f"root@{address}"]

    def _controller(self) -> str:
        return read_record(self.folder).controller

    def _processes(self) -> dict[str, int]:
        return {name: machine.pids[0] for name, machine in machines_of(self.folder).items()}

    def _printed_in(self, node: str, command: Sequence[str]) -> str:
        return said_in(self._machine(node), command).stdout

    def _host_environment(self) -> dict[str, str]:
        return {**NODE_ENVIRONMENT, "HOME": "/"}

    def _machine(self, node: str) -> Machine:
        found = machines_of(self.folder).get(node)
        if found is None:
            raise DriverError(f"{node} is off; `ai-how start` or `ai-how up` starts it")
        return found

    def _image(self, plan: Plan, say: Say) -> store.Image:
        """Return the image; nodes that stand on a damaged or another one are ended for it."""
        wanted = recipe(plan.packages)
        image = store.find(wanted)
        if image is None or store.damage(image):
            self._leave(store.folder_of(wanted.key) / "tree", say)
            image = build.ensure(wanted, say)
        for folder in self._node_folders():
            lower = lower_of(folder / "root")
            other = lower is not None and lower != image.tree
            if other or (lower is None and read_record(self.folder).image not in {"", image.key}):
                say(f"{folder.name}: the image has changed; it is made anew")
                self._anew(folder)
        return image

    def _leave(self, tree: Path, say: Say) -> None:
        for folder in self._node_folders():
            if lower_of(folder / "root") == tree:
                say(f"{folder.name}: ended, for its image is damaged")
                self._anew(folder)

    def _anew(self, folder: Path) -> None:
        self._away_with({folder.name})
        unmount_below(folder)
        root.forget_changes(folder)

    def _forget_strangers(self, names: set[str]) -> None:
        """Remove the nodes that are in the file no more."""
        for folder in self._node_folders():
            if folder.name not in names:
                self._away_with({folder.name})
                unmount_below(folder)
                shutil.rmtree(folder)

    def _away_with(self, names: set[str]) -> None:
        machines = {k: m for k, m in machines_of(self.folder).items() if k in names}
        end_machines(machines.values(), at_once=True)
        self._clear(machines)

    def _clear(self, names: Iterable[str]) -> None:
        """Wait until what the kernel had of nodes that ended is gone: cables, control groups."""
        for name in names:
            machine = machine_name(self.nodes / name / "root")
            until_unplugged(f"vb-{machine}")
            remove_group(machine)

    def _make_room(self, nodes: Sequence[Node], tree: Path, say: Say) -> list[str]:
        """Mount the roots of nodes; return those of compute nodes that were full and are not.

        Raises DriverError where there is no room on this machine's own disk.
        """

        def mount(node: Node) -> str | None:
            place = root.mount_root(self.nodes / node.name, tree, node.disk_MiB, say)
            return self._empty(node, tree, say) if disk.is_full(place) else None

        if full := disk.host_faults(self.folder):
            raise DriverError(full[0])
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [name for name in pool.map(mount, nodes) if name]

    def _empty(self, node: Node, tree: Path, say: Say) -> str | None:
        """Make room on the full disk of a node; say its name where that was done."""
        folder = self.nodes / node.name
        machine = machines_of(self.folder).get(node.name)
        if machine is not None and health.jobs_run(machine):
            say(f"{node.name}: its disk is full, and jobs run on it; run `ai-how up` after them")
            return None
        place = folder / "root"
        disk.trim(place)
        if not disk.is_full(place):
            say(f"{node.name}: its disk was full; caches, logs and temporary files are removed")
        elif not disk.has_own(folder):
            raise DriverError(
                f"{node.name}: its disk is this machine's, and full; "
                f"free {disk.FULL_MIB} MiB or more in {place}"
            )
        else:
            self._away_with({node.name})
            unmount_below(folder)
            kept = disk.set_aside(folder)
            say(f"{node.name}: its disk was full; it is kept as {kept}, and made anew")
            root.mount_root(folder, tree, node.disk_MiB, say)
        return node.name if node.role == "compute" else None

    def _prepare(
        self,
        plan: Plan,
        secrets: contents.Secrets,
        tree: Path,
        common: Mapping[str, str],
        node: Node,
    ) -> set[str]:
        """Write what is not as it should be in a node's root; return what that was."""
        place = self.nodes / node.name / "root"
        log = self.folder / "log" / node.name
        log.mkdir(exist_ok=True)
        os.chown(log, *root.owner_in(tree, "slurm"))
        files = contents.node_files(plan, node, secrets, tree, common, self.folder)
        changed = {name for name, file in files.items() if root.differs(place, name, file)}
        for name in changed:
            root.put(place, name, files[name])
        for unit in contents.units(plan, node):
            wants = f"/etc/systemd/system/multi-user.target.wants/{unit}"
            if root.link(place, wants, f"/lib/systemd/system/{unit}"):
                changed.add(wants)
        return changed

    def _start(
        self, plan: Plan, on: Sequence[Node], changed: Mapping[str, set[str]], bridge: str, say: Say
    ) -> list[str]:
        """Boot what is off, mend what runs; return the names of those that were booted."""
        machines = machines_of(self.folder)
        renumbered = {
            node.name
            for node in on
            if node.name in machines
            and any("network" in name or "tmpfiles" in name for name in changed[node.name])
        }
        if renumbered:
            say(f"{', '.join(sorted(renumbered))}: started anew, for address or devices changed")
            self._away_with(renumbered)
        new = [node for node in on if node.name not in machines or node.name in renumbered]
        for node in new:
            boot(boot_of(plan, node, self.folder, bridge))
        if new:
            say(f"{len(new)} nodes boot")
        old = [node for node in on if node not in new]
        socket = self.folder / "run" / "munge.socket"

        def mend(node: Node) -> str | None:
            return health.mend(
                machines[node.name],
                contents.units(plan, node),
                contents.services(plan, node),
                socket,
                anew=bool(changed[node.name]),
            )

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for told in pool.map(mend, old):
                if told:
                    say(told)
        return [node.name for node in new]
