"""A plan as a person reads it: plain text or Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ai_how.config.sizes import format_mib
from ai_how.plan.plan import Plan

_HEAD = ("node", "role", "address", "cores", "memory", "GPUs", "starts")


def as_text(plan: Plan) -> str:
    """Return the plan in aligned columns."""
    rows = [_HEAD, *_node_rows(plan)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [f"{plan.name}: {_summary(plan)}", ""]
    lines += [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines += ["", *_queue_lines(plan), *_network_lines(plan)]
    for finding in plan.findings:
        where = f"line {finding.line}: " if finding.line else ""
        lines.append(f"{finding.severity}: {where}key '{finding.key}': {finding.message}")
    lines.append(_verdict(plan))
    return "\n".join(lines) + "\n"


def as_markdown(plan: Plan) -> str:
    """Return the plan as Markdown, for a report or a merge request."""
    lines = [f"# Cluster {plan.name}", "", f"{_summary(plan).capitalize()}.", ""]
    lines += [_row(_HEAD), _row(["---"] * len(_HEAD))]
    lines += [_row(row) for row in _node_rows(plan)]
    lines += ["", *[f"- {line}" for line in (*_queue_lines(plan), *_network_lines(plan))]]
    for severity in ("conflict", "warning"):
        found = [f for f in plan.findings if f.severity == severity]
        if found:
            lines += ["", f"## {severity.capitalize()}s", ""]
            lines += [
                f"- {f'line {f.line}, ' if f.line else ''}`{f.key}`: {f.message}" for f in found
            ]
    lines += ["", f"{_verdict(plan).capitalize()}."]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _summary(plan: Plan) -> str:
    cores = sum(node.cpu for node in plan.compute)
    memory = sum(node.memory_MiB for node in plan.compute)
    nodes = "1 compute node" if len(plan.compute) == 1 else f"{len(plan.compute)} compute nodes"
    return (
        f"{nodes} with {cores} cores "
        f"and {memory / 1024:.1f}G of memory together, by the driver {plan.driver}"
    )


def _node_rows(plan: Plan) -> list[tuple[str, ...]]:
    return [
        (
            node.name,
            node.role,
            "127.0.0.1" if plan.driver == "process" and node.cluster == "hpc" else node.ip or "-",
            str(node.cpu),
            format_mib(node.memory_MiB),
            f"{node.gpus} {node.gpu_type}" if node.gpus else " ".join(node.pci) or "-",
            "yes" if node.auto_start else "no",
        )
        for node in plan.nodes
    ]


def _queue_lines(plan: Plan) -> list[str]:
    return [
        f"partition {queue.name}{' (default)' if queue.default else ''}: "
        f"{len(queue.nodes)} nodes, at most {queue.max_time}"
        for queue in plan.partitions
    ]


def _network_lines(plan: Plan) -> list[str]:
    shared = [f"shared folder: {plan.shared}"] if plan.shared else []
    if plan.driver == "process":
        network = "network: the loopback interface of this machine; every daemon has its own port"
        return [network, *shared]
    lines = [f"network {net.cluster}: {net.subnet} on bridge {net.bridge}" for net in plan.networks]
    return [*lines, *shared]


def _verdict(plan: Plan) -> str:
    number = len(plan.conflicts)
    if not number:
        return "nothing stands against it"
    return f"{number} conflict{'s' if number > 1 else ''} to be resolved before it can be made"
