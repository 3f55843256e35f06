"""Figures of a SLURM cluster, and the same as Prometheus' text format.

The standard library alone: the file can be copied to a node and run by its own Python,
``python3 slurm_exporter.py --port 9341``, with SLURM's commands beside it. Memory is in bytes
and time in seconds, as Prometheus wants its units.
"""

from __future__ import annotations

import argparse
import http.server
import re
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

PORT = 9341
_LIMIT_S = 10.0
_MIB = 1 << 20
_GRES = re.compile(r"(\w+):(?:([^:,()\s]+):)?(\d+)")
_NODE_FIELDS = ("NodeList", "StateLong", "CPUsState", "Memory", "AllocMem", "Gres", "GresUsed")
_CLOCK = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)(?:\.\d+)?")


class NoAnswerError(RuntimeError):
    """SLURM did not answer; the message is what it said."""


def figures(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return nodes, jobs, generic resources and how well jobs use their cores, as plain values.

    `efficiency` has a row for each job whose processor time SLURM tells: `efficiency` is that
    time over cores times elapsed time, from 0 to 1. Finished jobs are known to slurmdbd alone;
    without it there are only those that run, at most half a minute old. Raises NoAnswerError.
    """
    began = time.monotonic()
    nodes = _nodes(environment)
    jobs = _jobs(environment)
    return {
        "time": time.time(),
        "nodes": nodes,
        "jobs": jobs,
        "gres": _gres_sums(nodes),
        "efficiency": _of_finished(environment) or _of_running(jobs, environment),
        "scrape_s": round(time.monotonic() - began, 4),
    }


def prometheus_text(found: Mapping[str, Any] | None) -> str:
    """Return figures in Prometheus' text format; None where SLURM did not answer."""
    text = _Text()
    text.add("slurm_up", "Whether slurmctld answers.", [({}, 0 if found is None else 1)])
    if found is None:
        return text.whole()
    nodes, jobs = found["nodes"], found["jobs"]
    states = Counter(node["state"] for node in nodes)
    text.add("slurm_nodes", "Nodes by state.", [({"state": s}, n) for s, n in states.items()])
    for key, about in (
        ("cores", "Cores of a node."),
        ("cores_allocated", "Cores of a node that jobs hold."),
        ("memory_bytes", "Memory of a node."),
        ("memory_allocated_bytes", "Memory of a node that jobs hold."),
    ):
        rows = [({"node": node["name"]}, node[key]) for node in nodes]
        text.add(f"slurm_node_{key}", about, rows)
    responding = [({"node": node["name"]}, int(node["responds"])) for node in nodes]
    text.add("slurm_node_responds", "Whether slurmd answers.", responding)
    by_state = Counter((job["state"], job["partition"]) for job in jobs)
    rows = [({"state": s, "partition": p}, n) for (s, p), n in by_state.items()]
    text.add("slurm_jobs", "Jobs that wait and run.", rows)
    waiting = [job["waited_s"] for job in jobs if job["state"] == "PENDING"]
    text.add(
        "slurm_queue_oldest_seconds", "Longest wait in the queue.", [({}, max(waiting, default=0))]
    )
    for key, suffix, about in (
        ("total", "", "Generic resources of the nodes."),
        ("used", "_used", "Generic resources that jobs hold."),
    ):
        rows = [({"name": g["name"], "type": g["type"]}, g[key]) for g in found["gres"]]
        text.add(f"slurm_gres{suffix}", about, rows)
    rows = [
        ({"job": row["job"], "name": row["name"], "state": row["state"]}, row["efficiency"])
        for row in found["efficiency"]
    ]
    text.add("slurm_job_cpu_efficiency", "Processor time over cores times elapsed time.", rows)
    text.add("slurm_scrape_seconds", "Time that SLURM took.", [({}, found["scrape_s"])])
    return text.whole()


def parse_gres(text: str) -> list[tuple[str, str, int]]:
    """Return name, type (may be empty) and number of each of SLURM's ``gpu:a100:2(IDX:0-1)``."""
    bare = re.sub(r"\([^)]*\)", "", text)
    return [(m[1], m[2] or "", int(m[3])) for m in _GRES.finditer(bare)]


def seconds(clock: str) -> int:
    """Return SLURM's ``[days-][hours:]minutes:seconds[.fraction]`` in seconds; 0 if it is none."""
    match = _CLOCK.fullmatch(clock.strip())
    if match is None:
        return 0
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return ((24 * days + hours) * 60 + minutes) * 60 + rest


def _nodes(environment: Mapping[str, str] | None) -> list[dict[str, Any]]:
    fields = ",".join(f"{name}:128" for name in _NODE_FIELDS)
    found: dict[str, dict[str, Any]] = {}
    for line in _ask(["sinfo", "-h", "-N", "-O", fields], environment).splitlines():
        name, state, cores, memory, held, gres, used = _columns(line, 128)
        allocated, _, _, total = (int(part) for part in cores.split("/"))
        found[name] = {  # a node of two partitions has two lines
            "name": name,
            "state": state.rstrip("*~#!%$@^-+"),
            "responds": "*" not in state,
            "cores": total,
            "cores_allocated": allocated,
            "memory_bytes": int(memory) * _MIB,
            "memory_allocated_bytes": int(held) * _MIB,
            "gres": [
                {"name": n, "type": t, "total": count, "used": _count(used, n, t)}
                for n, t, count in parse_gres(gres)
            ],
        }
    return list(found.values())


def _jobs(environment: Mapping[str, str] | None) -> list[dict[str, Any]]:
    now, found = time.time(), []
    form = "%i|%u|%P|%T|%C|%D|%M|%V|%R|%j"
    for line in _ask(["squeue", "-h", "-r", "-o", form], environment).splitlines():
        number, user, partition, state, cores, nodes, ran, since, where, name = line.split("|", 9)
        submitted = time.mktime(time.strptime(since, "%Y-%m-%dT%H:%M:%S"))
        found.append(
            {
                "job": number,
                "name": name,
                "user": user,
                "partition": partition,
                "state": state,
                "cores": int(cores),
                "nodes": int(nodes),
                "elapsed_s": seconds(ran),
                "waited_s": max(0, round(now - submitted)) if state == "PENDING" else 0,
                "where": where,
            }
        )
    return found


def _gres_sums(nodes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    total: Counter[tuple[str, str]] = Counter()
    used: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        for row in node["gres"]:
            total[row["name"], row["type"]] += row["total"]
            used[row["name"], row["type"]] += row["used"]
    return [
        {"name": name, "type": kind, "total": count, "used": used[name, kind]}
        for (name, kind), count in sorted(total.items())
    ]


def _of_finished(environment: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """Return the jobs of the last day as slurmdbd knows them, the last first; none without it."""
    fields = "JobIDRaw,State,ElapsedRaw,AllocCPUS,TotalCPU,JobName"
    command = ["sacct", "-a", "-X", "-n", "-P", "-S", "now-1days", "-o", fields]
    try:
        lines = _ask(command, environment).splitlines()
    except NoAnswerError:
        return []
    rows = [line.split("|", 5) for line in lines]
    found = [
        _row(n, name, s.split()[0], int(c), int(e), seconds(t)) for n, s, e, c, t, name in rows
    ]
    return [row for row in reversed(found) if row is not None][:50]


def _of_running(
    jobs: Sequence[Mapping[str, Any]], environment: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    running = {job["job"]: job for job in jobs if job["state"] == "RUNNING"}
    if not running:
        return []
    command = ["sstat", "-a", "-n", "-P", "-o", "JobID,AveCPU,NTasks", "-j", ",".join(running)]
    try:
        lines = _ask(command, environment).splitlines()
    except NoAnswerError:
        return []
    spent: Counter[str] = Counter()
    for line in lines:
        step, each, tasks = line.split("|")
        spent[step.partition(".")[0]] += seconds(each) * int(tasks or 1)
    rows = [
        _row(n, job["name"], "RUNNING", job["cores"], job["elapsed_s"], spent[n])
        for n, job in running.items()
        if n in spent
    ]
    return [row for row in rows if row is not None]


def _row(
    job: str, name: str, state: str, cores: int, elapsed_s: int, cpu_s: int
) -> dict[str, Any] | None:
    if cores < 1 or elapsed_s < 1:
        return None
    share = min(1.0, cpu_s / (cores * elapsed_s))
    words = {"job": job, "name": name, "state": state, "cores": cores}
    return {**words, "elapsed_s": elapsed_s, "cpu_s": cpu_s, "efficiency": round(share, 4)}


def _count(text: str, name: str, kind: str) -> int:
    return sum(count for n, t, count in parse_gres(text) if (n, t) == (name, kind))


def _columns(line: str, width: int) -> list[str]:
    return [line[i : i + width].strip() for i in range(0, width * len(_NODE_FIELDS), width)]


def _ask(command: Sequence[str], environment: Mapping[str, str] | None) -> str:
    try:
        done = subprocess.run(
            list(command),
            env=dict(environment) if environment is not None else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswerError(f"{command[0]}: {error}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no answer"]
        raise NoAnswerError(f"{command[0]}: {said[-1]}")
    return done.stdout


class _Text:
    """Metrics in Prometheus' text format, version 0.0.4."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(
        self, name: str, about: str, rows: Sequence[tuple[Mapping[str, str], float | int]]
    ) -> None:
        self._lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
        for labels, value in rows:
            words = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            self._lines.append(f"{name}{{{words}}} {value}" if words else f"{name} {value}")

    def whole(self) -> str:
        return "\n".join(self._lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class _Metrics(http.server.BaseHTTPRequestHandler):
    """Answers /metrics."""

    def do_GET(self) -> None:
        """Answer Prometheus."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        try:
            body = prometheus_text(figures()).encode()
        except NoAnswerError:
            body = prometheus_text(None).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def main() -> None:
    """Serve the figures of the cluster that SLURM's commands speak to."""
    parser = argparse.ArgumentParser(description="Figures of SLURM for Prometheus, at /metrics.")
    parser.add_argument("--address", default="127.0.0.1", help="Address to listen on.")
    parser.add_argument("--port", type=int, default=PORT, help=f"Port; {PORT} by default.")
    options = parser.parse_args()
    http.server.ThreadingHTTPServer((options.address, options.port), _Metrics).serve_forever()


if __name__ == "__main__":
    main()
