"""The life of a cluster: validate, plan, driver, verify by a real job; and back to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ai_how.cluster.configure import configure, is_configured, missing, wants_configuring
from ai_how.cluster.first_job import verify
from ai_how.cluster.state import (
    ClusterState,
    DamagedStateError,
    StateError,
    UnknownNameError,
    changing,
    folder_of,
    forget,
    known_clusters,
    read_state,
    write_state,
)
from ai_how.config.load import load_cluster, parse_cluster
from ai_how.config.yaml_lines import read_text
from ai_how.drivers.base import Driver, DriverError, Say
from ai_how.drivers.libvirt.driver import LibvirtDriver
from ai_how.drivers.libvirt.record import read_record as guests_record
from ai_how.drivers.nspawn.driver import NspawnDriver
from ai_how.drivers.nspawn.record import read_record
from ai_how.drivers.process import ProcessDriver
from ai_how.gpu.owners import allocate, owners, release
from ai_how.plan.conflicts import Claim
from ai_how.plan.host import Host, this_host
from ai_how.plan.plan import Plan, make_plan, refuse_conflicts
from ai_how.slurm.commands import NodeState, SlurmError, node_states


@dataclass(frozen=True)
class NodeStatus:
    """A node as it is. `slurm` is what the scheduler thinks of it, empty if it does not say."""

    name: str
    role: str
    running: bool
    slurm: str
    reason: str
    gpus: str


@dataclass(frozen=True)
class Status:
    """A cluster as it is: ``up``, ``degraded``, ``down``, or ``not made``."""

    name: str
    driver: str
    condition: str
    nodes: tuple[NodeStatus, ...]
    problems: tuple[str, ...]
    verified: dict[str, Any] | None

    def as_data(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)


def name_of(cluster: str) -> str:
    """Return the name that a cluster's YAML, or the name itself, stands for."""
    if Path(cluster).is_file() or cluster.endswith((".yaml", ".yml")):
        return load_cluster(cluster).metadata.name
    return cluster


def claims(but: str) -> list[Claim]:
    """Return what the clusters of this user hold, `but` one. Processes hold nothing.

    A GPU that was given by hand is held too (`ai-how gpu allocate`).
    """
    found = [
        Claim(owner.cluster, pci=(owner.address,))
        for owner in owners().values()
        if owner.cluster != but
    ]
    for name in known_clusters():
        if name == but:
            continue
        state = read_state(name)
        if state is not None and state.driver != "process":
            plan = _plan_of(state)
            found.append(
                Claim(
                    name,
                    tuple(net.subnet for net in plan.networks),
                    tuple(net.bridge for net in plan.networks),
                    tuple(address for node in plan.nodes for address in node.pci),
                )
            )
    return found


def driver_of(state: ClusterState) -> Driver:
    """Return the driver that made a cluster."""
    folder = folder_of(state.name)
    if state.driver == "process":
        return ProcessDriver(folder)
    if state.driver == "nspawn":
        return NspawnDriver(folder)
    if state.driver == "libvirt":
        return LibvirtDriver(folder)
    raise StateError(
        f"{state.name}: made by the driver {state.driver!r}; there are nspawn, libvirt and process"
    )


def host_for(name: str) -> Host:
    """Return this machine as a cluster finds it: without the bridge that is its own."""
    host = this_host()
    folder = folder_of(name)
    own = {read_record(folder).bridge, guests_record(folder).bridge}
    return replace(host, interfaces=host.interfaces - own)


def made(cluster: str) -> tuple[ClusterState, Plan, Driver]:
    """Return state, plan and driver of a cluster. Raises UnknownNameError where there is none."""
    name = name_of(cluster)
    state = read_state(name)
    if state is None:
        names = ", ".join(known_clusters()) or "none"
        file = cluster if Path(cluster).is_file() else f"{cluster}.yaml"
        makes = f"; `ai-how up {file}` makes it" if Path(file).is_file() else ""
        raise UnknownNameError(f"there is no cluster {name!r}{makes}; made are: {names}")
    return state, _plan_of(state), driver_of(state)


def up(cluster: str, say: Say) -> Status:
    """Make a cluster, or mend it: whatever is missing is made, whatever has died is started.

    Raises
    ------
    ConfigError
        If its file is refused or conflicts with this machine; nothing was touched then.
    DriverError
        If it does not come up; run it again, or `destroy`.
    """
    path = Path(cluster)
    if path.is_file() or cluster.endswith((".yaml", ".yml")):
        file = load_cluster(path)
        source, text = str(path.absolute()), read_text(path)
    else:
        state, _, _ = made(cluster)
        file, source, text = parse_cluster(state.text, state.source), state.source, state.text
    name = file.metadata.name
    old = _undamaged(name)
    plan = make_plan(file, host_for(name), claims(name), old.driver if old else None)
    refuse_conflicts(plan, cluster)
    for finding in plan.findings:
        if finding.key == "global.driver":
            say(finding.message)
    with changing(plan.name):
        old = _undamaged(plan.name)
        if old is not None and old.driver != plan.driver:
            raise StateError(
                f"{plan.name!r} was made by the driver {old.driver!r}; "
                f"`ai-how destroy {plan.name}` first"
            )
        names = {node.name for node in plan.compute}
        off = [n.name for n in plan.compute if not n.auto_start] if old is None else old.off
        state = ClusterState(
            plan.name, plan.driver, source, text, "up", [name for name in off if name in names]
        )
        driver = driver_of(state)
        lacking = driver.missing() + (missing(plan) if wants_configuring(plan) else [])
        if lacking:
            raise DriverError("; ".join(lacking))
        write_state(state)
        allocate(_devices(plan), plan.name)
        driver.up(plan, state.off, say)
        folder = folder_of(plan.name)
        if wants_configuring(plan) and not is_configured(plan, driver, folder):
            configure(plan, driver, folder, say)
        state.verified = verify(plan, driver, say)
        write_state(state)
    return status(plan.name)


def configure_nodes(cluster: str, say: Say, *, check: bool = False) -> dict[str, int]:
    """Run the playbook on the nodes of a cluster that is up; return its totals."""
    name = name_of(cluster)
    with changing(name) as folder:
        _, plan, driver = made(name)
        return configure(plan, driver, folder, say, check=check)


def down(cluster: str) -> None:
    """End every node; queue, state and files stay."""
    name = name_of(cluster)
    with changing(name):
        state, _, driver = made(name)
        state.wanted = "down"
        write_state(state)
        driver.down()


def stop(cluster: str, names: Sequence[str]) -> None:
    """Switch compute nodes off; `up` leaves them off until `start`."""
    name = name_of(cluster)
    with changing(name):
        state, plan, driver = made(name)
        _known(plan, names)
        state.off = sorted({*state.off, *names})
        write_state(state)
        driver.stop(names)


def start(cluster: str, names: Sequence[str], say: Say) -> Status:
    """Switch compute nodes on again; without names, the whole cluster as it was."""
    name = name_of(cluster)
    with changing(name):
        state, plan, driver = made(name)
        _known(plan, names)
        state.off = [node for node in state.off if node not in names]
        state.wanted = "up"
        write_state(state)
        driver.up(plan, state.off, say)
    return status(name)


def destroy(cluster: str) -> bool:
    """Remove a cluster with all it made; say whether there was one."""
    name = name_of(cluster)
    if not folder_of(name).exists():
        return False
    with changing(name) as folder:
        state = _undamaged(name)
        # Without a state (a destroy that was killed) it may be any driver's.
        drivers: list[Driver] = [
            ProcessDriver(folder),
            NspawnDriver(folder),
            LibvirtDriver(folder),
        ]
        for driver in [driver_of(state)] if state else drivers:
            driver.destroy()
        release(cluster=name)
        forget(folder)
    return True


def status(cluster: str) -> Status:
    """Return a cluster as it is. Changes nothing."""
    name = name_of(cluster)
    state = read_state(name)
    if state is None:
        return Status(name, "", "not made", (), (), None)
    plan, driver = _plan_of(state), driver_of(state)
    problems = driver.faults() if state.wanted == "up" else []
    states: dict[str, NodeState] = {}
    if state.wanted == "up":
        problems += driver.node_faults(plan, state.off)
    running = driver.running()  # the last: what has ended meanwhile is off
    if "controller" in running:
        try:
            states = node_states(driver.environment())
        except SlurmError as error:
            if not problems:  # else it is their consequence
                problems.append(str(error))
    head = NodeStatus(plan.controller.name, "controller", "controller" in running, "", "", "")
    nodes = [head]
    for node in plan.compute:
        seen = states.get(node.name)
        gpus = f"{node.gpus} {node.gpu_type}" if node.gpus else ""
        if gpus and node.gpu_type != "emulated":
            gpus += " (emulated)"
        slurm = seen.state if seen else ""
        nodes.append(
            NodeStatus(
                node.name, "compute", node.name in running, slurm, seen.reason if seen else "", gpus
            )
        )
        if state.wanted == "up" and node.name not in state.off:
            problems += _troubles(node.name, node.name in running, seen)
    if state.wanted == "up":
        condition = "degraded" if problems else "up"
    else:
        condition = "degraded" if running else "down"
        problems += [f"{node} still runs; `ai-how down` ends it" for node in running]
    return Status(name, state.driver, condition, tuple(nodes), tuple(problems), state.verified)


def _troubles(name: str, runs: bool, seen: NodeState | None) -> list[str]:
    if not runs:
        return [f"{name}: it is off (slurmd does not run); `ai-how up` starts it"]
    if seen is None:
        return []
    if seen.state in {"down", "drained", "draining", "inval", "unknown"} or not seen.responds:
        answers = "" if seen.responds else ", does not respond"
        return [f"{name}: {seen.state}{answers}{f' ({seen.reason})' if seen.reason else ''}"]
    return []


def known_node(plan: Plan, name: str) -> str:
    """Return the role of a node of the SLURM cluster. Raises UnknownNameError if there is none."""
    roles = {node.name: node.role for node in plan.nodes if node.cluster == "hpc"}
    if name not in roles:
        raise UnknownNameError(f"{name!r} is no node of {plan.name!r}; it has {', '.join(roles)}")
    return roles[name]


def _devices(plan: Plan) -> list[str]:
    """Return the PCI devices of this machine that the nodes take."""
    return [address for node in plan.nodes for address in node.pci]


def _undamaged(name: str) -> ClusterState | None:
    """Return a state, or None where it cannot be read: it is written anew, or removed."""
    try:
        return read_state(name)
    except DamagedStateError:
        return None


def _plan_of(state: ClusterState) -> Plan:
    file = parse_cluster(state.text, state.source)
    return make_plan(file, host_for(state.name), driver=state.driver)


def _known(plan: Plan, names: Sequence[str]) -> None:
    known = [node.name for node in plan.compute]
    if strangers := [name for name in names if name not in known]:
        raise UnknownNameError(
            f"{strangers[0]!r} is no compute node of {plan.name!r}; it has {', '.join(known[:10])}"
        )
