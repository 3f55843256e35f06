#!/usr/bin/python3
"""SLURM's nodes, queue and GRES as figures for Prometheus: slurm-exporter PORT.

Each scrape asks sinfo and squeue once; nothing is kept between scrapes. Standard library only.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_LIMIT_S = 10
_GRES = re.compile(r"gpu(?::[^:,()]+)?:(\d+)")


def ask(*command: str) -> list[list[str]]:
    """Run a command of SLURM and return its lines, split at the bars."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_LIMIT_S)
    return [line.split("|") for line in done.stdout.splitlines()]


def gpus(text: str) -> int:
    """Return how many GPUs a GRES list names: ``gpu:a100:2(IDX:0-1)`` has two."""
    return sum(int(number) for number in _GRES.findall(text))


def figures() -> str:
    """Return all figures in Prometheus' text format."""
    form = (
        "NodeHost:64|,StateCompact:20|,CPUsState:40|,Memory:20|,AllocMem:20|,Gres:200|,GresUsed:200"
    )
    nodes = ask("sinfo", "--noheader", "--Node", f"--Format={form}")
    jobs = ask("squeue", "--noheader", "--format=%T|%P|%u")
    lines = ["# HELP slurm_up 1 where slurmctld answers.", "# TYPE slurm_up gauge", "slurm_up 1"]
    states: Counter[str] = Counter()
    seen: dict[str, list[str]] = {row[0].strip(): [cell.strip() for cell in row] for row in nodes}
    per_node: list[tuple[str, str, float]] = []
    for name, (_, state, cores, memory, allocated, gres, used) in seen.items():
        states[state.rstrip("*~#!%$@^-")] += 1
        busy, _, _, total = (int(word) for word in cores.split("/"))
        per_node += [
            ("slurm_node_cpus", name, total),
            ("slurm_node_cpus_allocated", name, busy),
            ("slurm_node_memory_bytes", name, int(memory) * 2**20),
            ("slurm_node_memory_allocated_bytes", name, int(allocated) * 2**20),
            ("slurm_node_gpus", name, gpus(gres)),
            ("slurm_node_gpus_allocated", name, gpus(used)),
        ]
    lines.append("# TYPE slurm_nodes gauge")
    lines += [f'slurm_nodes{{state="{state}"}} {count}' for state, count in sorted(states.items())]
    for metric in dict.fromkeys(metric for metric, _, _ in per_node):
        lines.append(f"# TYPE {metric} gauge")
        lines += [f'{m}{{node="{node}"}} {value}' for m, node, value in per_node if m == metric]
    lines.append("# TYPE slurm_jobs gauge")
    counted = Counter((state, queue) for state, queue, _ in jobs)
    for (state, queue), count in sorted(counted.items()):
        lines.append(f'slurm_jobs{{state="{state}",partition="{queue}"}} {count}')
    return "\n".join(lines) + "\n"


class Handler(BaseHTTPRequestHandler):
    """Answers GET /metrics."""

    def do_GET(self) -> None:
        """Answer a scrape; where SLURM does not answer, slurm_up is 0."""
        if self.path != "/metrics":
            self.send_error(404, "figures are at /metrics")
            return
        try:
            text = figures()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"slurm does not answer: {error}\n")
            text = "slurm_up 0\n"
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing of each scrape."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
