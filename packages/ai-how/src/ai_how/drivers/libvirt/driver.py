"""The driver `libvirt`: each node is a virtual machine with a kernel of its own.

A node is an overlay over one disk that all share, a disk that tells it what it is to be, and a
network card on a bridge of this machine. What is to last (the database, slurmctld's state, logs)
lies outside the nodes' roots: any root can be made anew from the image.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ai_how.drivers.base import DriverError, Say
from ai_how.drivers.booted import BootedNodes
from ai_how.drivers.daemons import PROGRAM_PATH
from ai_how.drivers.inventory import inventory_of
from ai_how.drivers.libvirt import contents, disks, health, remote, seed, virsh
from ai_how.drivers.libvirt.acceleration import Acceleration, acceleration
from ai_how.drivers.libvirt.domain import Guest, domain_name, domain_xml, node_of
from ai_how.drivers.libvirt.guests import age_s, guests_of
from ai_how.drivers.libvirt.power import cut_power, shut_down
from ai_how.drivers.libvirt.record import Record, read_record, was_made, write_record
from ai_how.drivers.libvirt.requirements import libvirt_lacks
from ai_how.drivers.libvirt.wanted import WantedGuest
from ai_how.drivers.munge import end_munged, munge_faults, run_munged
from ai_how.drivers.nspawn import contents as booted
from ai_how.drivers.nspawn import keys
from ai_how.drivers.nspawn.lasting import write_own_files
from ai_how.drivers.nspawn.network import make_bridge, remove_bridge
from ai_how.drivers.nspawn.root import owner_in
from ai_how.files import write_whole
from ai_how.images import build, store
from ai_how.images.disk import Disk, disk_damage, ensure_disk, find_disk, layered
from ai_how.images.recipe import recipe
from ai_how.plan.nodes import Node
from ai_how.plan.plan import Plan
from ai_how.slurm.commands import SlurmError, set_down

_AT_ONCE = 8
# seconds until all nodes take jobs: for the cluster, and more for each node
_READY_S = {"kvm": (120.0, 10.0), "qemu": (300.0, 120.0)}
_SILENT_S = {"kvm": 20.0, "qemu": 60.0}  # until nodes that do not answer are looked at
_ANSWER_S = 30.0  # until a node that has long booted answers by ssh
_XML, _APPLIED = "domain.xml", "applied.json"


class LibvirtDriver(BootedNodes):
    """Nodes as virtual machines."""

    name = "libvirt"

    def missing(self) -> list[str]:
        """Return what this machine lacks, each with its remedy."""
        return libvirt_lacks(self.folder)

    def up(self, plan: Plan, off: Sequence[str], say: Say) -> None:
        """Make all that the plan wants, and start every node but `off`. Raises DriverError."""
        for name in ("etc", "run", "log", "shared", "nodes"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for private in ("etc/keys", "data", "nodes"):
            (self.folder / private).mkdir(exist_ok=True)
            (self.folder / private).chmod(0o700)
        net = next(net for net in plan.networks if net.cluster == "hpc")
        image, disk = self._image(plan, say)
        speed = acceleration(disk.kernel)
        if speed.kind == "qemu":
            say(f"nodes are emulated, and many times slower than this machine: {speed.why}")
        wanted = [node for node in plan.nodes if node.cluster == "hpc"]
        on = [node for node in wanted if node.name not in off]
        cut_power(self.folder, {*guests_of(self.folder)} - {node.name for node in on})
        write_record(self.folder, Record(image.key, net.bridge, plan.controller.name, speed.kind))
        self._forget_strangers({node.name for node in wanted})
        run_munged(self.folder, {"PATH": PROGRAM_PATH, "HOME": "/"}, say)
        secrets = keys.secrets_of(self.folder)
        make_bridge(net, self._owner())
        common = booted.rendered(plan)
        write_own_files(self.folder, plan, common)
        disks.make_data(self._data(), image.tree)
        prepare = partial(self._prepare, plan, secrets, image.tree, common, disk, speed)
        for_all, for_each = _READY_S[speed.kind]
        limit_s = for_all + for_each * len(on)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            ready = list(pool.map(prepare, on))
        new = self._start(plan, ready, disk, limit_s, say)
        self._until_ready(
            plan,
            on,
            off,
            say,
            new=new,
            limit_s=limit_s,
            pause_s=0.5,
            silent_s=_SILENT_S[speed.kind],
        )

    def stop(self, names: Sequence[str]) -> None:
        """End nodes as a power cut would; slurmctld, if it answers, requeues their jobs at once."""
        cut_power(self.folder, names)
        with contextlib.suppress(SlurmError):
            set_down(names, "stopped by ai-how", self.environment())

    def down(self) -> None:
        """Shut all nodes down, the controller first: it saves the queue with its jobs running."""
        head = self._controller()
        shut_down(self.folder, [name for name in guests_of(self.folder) if name == head])
        shut_down(self.folder, list(guests_of(self.folder)))
        end_munged(self.folder)
        virsh.end_own_libvirt()

    def destroy(self) -> None:
        """End every node at once, and remove domains and the bridge."""
        if not was_made(self.folder):
            return
        cut_power(self.folder, guests_of(self.folder))
        for name in virsh.domains():
            if node_of(self.folder, name) is not None:
                virsh.undefine(name)
        end_munged(self.folder)
        bridge = read_record(self.folder).bridge
        if bridge:
            remove_bridge(bridge, self._owner())
        virsh.end_own_libvirt()

    def faults(self) -> list[str]:
        """Return what must run for SLURM to answer and does not, each with its remedy."""
        record = read_record(self.folder)
        found = munge_faults(self.folder)
        if not virsh.server_runs():
            found.append("libvirtd does not run; `ai-how up` starts it")
        disk = find_disk(record.image) if record.image else None
        wrong = disk_damage(disk) if disk else f"image {record.image}: its disk is gone"
        if wrong:
            found.append(f"{wrong}; `ai-how up` makes it anew")
        if record.controller not in guests_of(self.folder):
            found.append(f"{record.controller or 'the controller'} is off; `ai-how up` starts it")
        return found

    def node_faults(self, plan: Plan, off: Sequence[str]) -> list[str]:
        """Return what is wrong inside the nodes that run, each with its remedy."""
        running = guests_of(self.folder)
        nodes = [n for n in plan.nodes if n.name in running and n.name not in off]

        def look(node: Node) -> list[str]:
            return health.faults(self.folder, node.name, booted.units(plan, node))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [fault for found in pool.map(look, nodes) for fault in found]

    def inventory(self, plan: Plan) -> dict[str, object]:
        """Return the nodes as an Ansible inventory: addresses, the ssh key, groups and facts."""
        overlays = {node.name: disks.overlay_of(self.nodes / node.name) for node in plan.nodes}
        born = {name: overlay.born for name, overlay in overlays.items() if overlay}
        return inventory_of(plan, self.folder, born, cgroup_mode=contents.CGROUP_MODE, fuse=True)

    def run_in(self, node: str, command: Sequence[str]) -> int:
        """Run a command in a node, on this terminal, and return its exit status."""
        self._running(node)
        terminal = ["-t"] if os.isatty(0) and os.isatty(1) else []
        words = [*remote.ssh(self.folder, node, "-q", *terminal), remote.quoted(command)]
        return subprocess.run(words, check=False).returncode

    def ssh_command(self, node: str) -> list[str]:
        """Return the command that opens a shell on a node. Raises DriverError if it is off."""
        self._running(node)
        return remote.ssh(self.folder, node)

    def _controller(self) -> str:
        return read_record(self.folder).controller

    def _processes(self) -> dict[str, int]:
        return guests_of(self.folder)

    def _printed_in(self, node: str, command: Sequence[str]) -> str:
        return remote.said_in(self.folder, node, command).stdout.decode(errors="replace")

    def _data(self) -> Path:
        return self.folder / "data" / disks.DATA

    def _running(self, node: str) -> None:
        if node not in guests_of(self.folder):
            raise DriverError(f"{node} is off; `ai-how start` or `ai-how up` starts it")

    def _image(self, plan: Plan, say: Say) -> tuple[store.Image, Disk]:
        """Return image and disk; nodes that stand on a damaged or another one are ended for it."""
        wanted = recipe(plan.packages, guest=True)
        image, disk = store.find(wanted), find_disk(wanted.key)
        if (image and store.damage(image)) or (disk and disk_damage(disk)):
            on = [f.name for f in self._node_folders() if disks.stands_on(f, wanted.key)]
            if gone := sorted({*on} & {*guests_of(self.folder)}):
                say(f"{', '.join(gone)}: ended, for the image is damaged")
                cut_power(self.folder, gone)
        image = build.ensure(wanted, say)
        disk = ensure_disk(image, say)
        if plan.disk:
            disk = layered(disk, Path(plan.disk))
        for folder in self._node_folders():
            overlay = disks.overlay_of(folder)
            if overlay is not None and overlay.base != disk.stamp:
                say(f"{folder.name}: the image has changed; it is made anew")
                cut_power(self.folder, [folder.name])
                disks.forget_overlay(folder)
        return image, disk

    def _forget_strangers(self, names: set[str]) -> None:
        """Remove the nodes that are in the file no more, and domains without a folder."""
        known = virsh.domains()
        for domain in known:
            node = node_of(self.folder, domain)
            if node is not None and node not in names:
                cut_power(self.folder, [node])
                virsh.undefine(domain)
        for folder in self._node_folders():
            if folder.name not in names:
                shutil.rmtree(folder)
            elif domain_name(self.folder, folder.name) not in known:
                (folder / _XML).unlink(missing_ok=True)  # it is defined again

    def _prepare(
        self,
        plan: Plan,
        secrets: booted.Secrets,
        tree: Path,
        common: Mapping[str, str],
        disk: Disk,
        speed: Acceleration,
        node: Node,
    ) -> WantedGuest:
        """Return what a node is to be; touch nothing but its own folders."""
        (self.nodes / node.name).mkdir(exist_ok=True)
        log = self.folder / "log" / node.name
        log.mkdir(exist_ok=True)
        os.chown(log, *owner_in(tree, "slurm"))
        guest = Guest(
            node=node.name,
            folder=self.folder,
            kind=speed.kind,
            cores=node.cpu,
            memory_MiB=node.memory_MiB,
            kernel=disk.kernel,
            initrd=disk.initrd,
            root=self.nodes / node.name / disks.ROOT,
            seed=self.nodes / node.name / "seed.img",
            data=self._data() if node.role == "controller" else None,
            bridge=next(net.bridge for net in plan.networks if net.cluster == node.cluster),
            console=self._console(node.name),
            shares=contents.shares(plan, node, self.folder),
            devices=node.pci,
        )
        return WantedGuest(
            node,
            domain_xml(guest),
            contents.guest_files(plan, node, secrets, tree, common, self.folder),
            contents.guest_links(plan, node),
        )

    def _start(
        self, plan: Plan, wanted: Sequence[WantedGuest], disk: Disk, limit_s: float, say: Say
    ) -> list[str]:
        """Boot what is off, mend what runs; return the names of those that were booted."""
        running = guests_of(self.folder)
        changed = {w.node.name: self._changed(w) for w in wanted if w.node.name in running}
        again = [
            w.node.name
            for w in wanted
            if w.node.name in running
            and (self._defined_otherwise(w) or contents.wants_restart(changed[w.node.name]))
        ]
        if again:
            say(f"{', '.join(again)}: started anew, for address, size or devices changed")
            shut_down(self.folder, again)
        dumb = self._dumb([name for name in running if name not in again], limit_s)
        if dumb:
            say(f"{', '.join(dumb)}: started anew, for nothing in there answers")
            cut_power(self.folder, dumb)
        new = [w for w in wanted if w.node.name not in {*running} - {*again} - {*dumb}]
        for w in new:
            self._boot(w, disk)
        if new:
            say(f"{len(new)} nodes boot")
        old = [w for w in wanted if w not in new]

        def mend(w: WantedGuest) -> str | None:
            names = changed[w.node.name]
            files = seed.only(w.files, names)
            links = {path: to for path, to in w.links.items() if path in names}
            part = seed.archive(files, links) if names else b""
            seed.write_disk(self.nodes / w.node.name / "seed.img", w.archive())
            units = booted.units(plan, w.node)
            told = health.mend(self.folder, w.node.name, units, new=part, whole=w.archive())
            self._note(w)
            return told

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for told in pool.map(mend, old):
                if told:
                    say(told)
        return [w.node.name for w in new]

    def _dumb(self, names: Sequence[str], limit_s: float) -> list[str]:
        """Return the nodes that run and do not answer, though they had time enough to boot."""
        running = guests_of(self.folder)

        def speaks(name: str) -> bool:
            left = limit_s - age_s(running[name]) if name in running else 0.0
            return remote.answers(self.folder, name, max(_ANSWER_S, left))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = zip(names, pool.map(speaks, names), strict=True)
            return [name for name, spoke in found if not spoke]

    def _boot(self, w: WantedGuest, disk: Disk) -> None:
        folder = self.nodes / w.node.name
        disks.make_overlay(folder, disk, w.node.disk_MiB)
        seed.write_disk(folder / "seed.img", w.archive())
        if self._defined_otherwise(w):
            virsh.define(w.xml, folder / _XML)
        self._note(w)
        virsh.start_domain(domain_name(self.folder, w.node.name))

    def _defined_otherwise(self, w: WantedGuest) -> bool:
        path = self.nodes / w.node.name / _XML
        return not path.exists() or path.read_text() != w.xml

    def _changed(self, w: WantedGuest) -> set[str]:
        """Return the files and links that a node that runs does not have yet."""
        try:
            has = json.loads((self.nodes / w.node.name / _APPLIED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            has = {}
        return {path for path, digest in w.digests().items() if has.get(path) != digest}

    def _note(self, w: WantedGuest) -> None:
        write_whole(self.nodes / w.node.name / _APPLIED, json.dumps(w.digests(), indent=1) + "\n")
