"""What is connected to what: this machine, networks, nodes and partitions, as text or a diagram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_how.config.sizes import format_mib
from ai_how.plan.nodes import Node
from ai_how.plan.plan import Plan

_LOOPBACK = "loopback"


def topology_data(plan: Plan, states: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the topology as plain values, for JSON; `states` tells how nodes are, by name."""
    return {
        "name": plan.name,
        "driver": plan.driver,
        "host": {
            "name": plan.host.hostname,
            "cores": plan.host.cores,
            "memory_MiB": plan.host.memory_MiB,
        },
        "networks": [
            {
                "name": name,
                "bridge": bridge,
                "subnet": subnet,
                "gateway": gateway,
                "nodes": [_node(plan, node, states or {}) for node in nodes],
            }
            for name, bridge, subnet, gateway, nodes in _networks(plan)
        ],
        "partitions": [
            {"name": queue.name, "default": queue.default, "nodes": list(queue.nodes)}
            for queue in plan.partitions
        ],
    }


def topology_text(data: Mapping[str, Any]) -> str:
    """Return a topology as a tree."""
    host = data["host"]
    lines = [f"{host['name']}  {host['cores']} cores, {host['memory_MiB'] / 1024:.1f}G"]
    for last_net, net in _with_last(data["networks"]):
        lines.append(f"{'`-' if last_net else '|-'} {net['name']}  {_net_words(net)}")
        for last, node in _with_last(net["nodes"]):
            bar = "  " if last_net else "| "
            lines.append(f"{bar} {'`-' if last else '|-'} {_node_words(node)}")
    for queue in data["partitions"]:
        default = " (default)" if queue["default"] else ""
        lines.append(f"partition {queue['name']}{default}: {', '.join(queue['nodes'])}")
    return "\n".join(lines) + "\n"


def topology_mermaid(data: Mapping[str, Any]) -> str:
    """Return a topology as a Mermaid flow chart."""
    host = data["host"]
    lines = [
        "graph TD",
        f'  host["{host["name"]}<br/>{host["cores"]} cores, {host["memory_MiB"] / 1024:.1f}G"]',
    ]
    for number, net in enumerate(data["networks"]):
        lines.append(f'  net{number}(["{net["name"]}<br/>{_net_words(net)}"])')
        lines.append(f"  host --- net{number}")
        for node in net["nodes"]:
            words = [node["role"], f"{_cores(node['cpu'])}, {format_mib(node['memory_MiB'])}"]
            words += [node[key] for key in ("gpus", "state") if node[key]]
            lines.append(f'  net{number} --- {_id(node)}["{"<br/>".join([node["name"], *words])}"]')
    nodes = {node["name"]: node for net in data["networks"] for node in net["nodes"]}
    for number, queue in enumerate(data["partitions"]):
        lines.append(f'  part{number}{{{{"partition {queue["name"]}"}}}}')
        lines += [f"  part{number} -.- {_id(nodes[name])}" for name in queue["nodes"]]
    return "\n".join(lines) + "\n"


def topology_markdown(data: Mapping[str, Any]) -> str:
    """Return a topology as Markdown: the diagram, and a table of the nodes."""
    lines = [f"# Topology of {data['name']}", "", "```mermaid", topology_mermaid(data) + "```", ""]
    lines += ["| node | role | network | address | cores | memory | GPUs | state |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for net in data["networks"]:
        for node in net["nodes"]:
            cells = [node["name"], node["role"], net["name"], node["address"], str(node["cpu"])]
            cells += [format_mib(node["memory_MiB"]), node["gpus"] or "-", node["state"] or "-"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _networks(plan: Plan) -> list[tuple[str, str, str, str, list[Node]]]:
    """Return name, bridge, subnet, gateway and nodes of each network that would be there."""
    found = []
    for net in plan.networks:
        nodes = [node for node in plan.nodes if node.cluster == net.cluster]
        if plan.driver == "process" and net.cluster == "hpc":
            found.append((_LOOPBACK, "lo", "127.0.0.0/8", "127.0.0.1", nodes))
        else:
            found.append((net.cluster, net.bridge, net.subnet, net.gateway, nodes))
    return found


def _node(plan: Plan, node: Node, states: Mapping[str, str]) -> dict[str, Any]:
    loopback = plan.driver == "process" and node.cluster == "hpc"
    return {
        "name": node.name,
        "role": node.role,
        "cluster": node.cluster,
        "address": "127.0.0.1" if loopback else node.ip or "-",
        "cpu": node.cpu,
        "memory_MiB": node.memory_MiB,
        "gpus": f"{node.gpus} {node.gpu_type}" if node.gpus else " ".join(node.pci),
        "partitions": [queue.name for queue in plan.partitions if node.name in queue.nodes],
        "state": states.get(node.name, ""),
    }


def _net_words(net: Mapping[str, Any]) -> str:
    return f"{net['subnet']} on {net['bridge']}, this machine is {net['gateway']}"


def _node_words(node: Mapping[str, Any]) -> str:
    words = [node["name"], node["address"], node["role"], _cores(node["cpu"])]
    words.append(format_mib(node["memory_MiB"]))
    words += [node[key] for key in ("gpus", "state") if node[key]]
    return "  ".join(words)


def _cores(number: int) -> str:
    return f"{number} core{'s' if number != 1 else ''}"


def _id(node: Mapping[str, Any]) -> str:
    return f"{node['cluster']}_{node['name']}".replace("-", "_")


def _with_last(items: list[Any]) -> list[tuple[bool, Any]]:
    return [(index == len(items) - 1, item) for index, item in enumerate(items)]
