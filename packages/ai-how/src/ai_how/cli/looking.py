"""Look into a cluster: ssh, topology, dashboard."""

from __future__ import annotations

import json
import os
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ai_how.cli.base import INSIDE, Cluster, JsonFlag, refusing, tell


class Diagram(StrEnum):
    """How a topology is printed."""

    text = "text"
    json = "json"
    mermaid = "mermaid"
    markdown = "markdown"


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(context_settings={"ignore_unknown_options": True}, rich_help_panel=INSIDE)(ssh)
    app.command(rich_help_panel=INSIDE)(topology)
    app.command(rich_help_panel=INSIDE)(dashboard)


def ssh(
    words: Annotated[
        list[str],
        typer.Argument(
            help="A cluster (left out where one cluster has such a node), a node, and a command "
            "(left out: a shell).",
            metavar="[CLUSTER] NODE [COMMAND]",
        ),
    ],
) -> None:
    """Open a shell on a node, or run a command there.

    ai-how ssh lab node01            ai-how ssh node01 'uptime; df -h'

    With the driver `process` a node is this machine: the shell is one here, whose SLURM commands
    speak to the cluster.
    """
    from ai_how.cluster import lifecycle
    from ai_how.drivers.base import DriverError

    with refusing():
        cluster, node, command = _parted(words)
        _, plan, driver = lifecycle.made(cluster)
        lifecycle.known_node(plan, node)
        shell = [*driver.ssh_command(node), *command]
        try:
            code = subprocess.run(shell, env=os.environ, check=False).returncode
        except OSError as error:
            raise DriverError(f"{shell[0]}: {error.strerror}") from None
    raise typer.Exit(code)


def topology(
    cluster: Cluster,
    form: Annotated[
        Diagram, typer.Option("--format", "-f", help="How to print it.")
    ] = Diagram.text,
    as_json: JsonFlag = False,
) -> None:
    """Show what is connected to what: networks, nodes, partitions; with states once it is made."""
    from ai_how.cluster import lifecycle
    from ai_how.config.load import load_cluster
    from ai_how.plan import topology as drawn
    from ai_how.plan.host import this_host
    from ai_how.plan.plan import make_plan

    with refusing():
        found = lifecycle.status(cluster)
        if found.condition == "not made" and Path(cluster).is_file():
            plan = make_plan(load_cluster(cluster), this_host())
        else:
            _, plan, _ = lifecycle.made(cluster)
        states = {
            node.name: (node.slurm or "runs") if node.running else "off" for node in found.nodes
        }
        data = drawn.topology_data(plan, states)
    if as_json or form is Diagram.json:
        typer.echo(json.dumps(data, indent=1))
        return
    draw = {
        Diagram.text: drawn.topology_text,
        Diagram.mermaid: drawn.topology_mermaid,
        Diagram.markdown: drawn.topology_markdown,
    }[form]
    typer.echo(draw(data), nl=False)


def dashboard(
    cluster: Cluster,
    port: Annotated[
        int, typer.Option("--port", help="Port on 127.0.0.1; 0: any that is free.", min=0)
    ] = 9341,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", help="Only write files for Prometheus and Grafana into this folder."
        ),
    ] = None,
) -> None:
    """Show nodes, queue, GRES and job efficiency on a live page, until Ctrl-C.

    The same server answers Prometheus at /metrics; --write makes a prometheus.yml that scrapes it
    and Grafana's provisioning. It listens on the loopback interface alone.
    """
    import webbrowser

    from ai_how.cluster import lifecycle
    from ai_how.observe.prometheus import write_files
    from ai_how.observe.serve import Dashboard, Watch

    with refusing():
        state, _, driver = lifecycle.made(cluster)
        if write is not None:
            for path in write_files(write, state.name, f"127.0.0.1:{port}"):
                tell(str(path))
            tell(
                f"next: `ai-how dashboard {state.name} --port {port} --no-browser`, and beside it "
                f"`prometheus --config.file={write / 'prometheus.yml'}`"
            )
            return
        watch = Watch(state.name, lambda: lifecycle.status(state.name), driver.environment())
        server = Dashboard(watch, port)
    try:
        tell(
            f"{server.url} shows {state.name}; for Prometheus: {server.url}metrics; Ctrl-C ends it"
        )
        if browser:
            webbrowser.open(server.url)
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


def _parted(words: list[str]) -> tuple[str, str, list[str]]:
    """Return cluster, node and command; the cluster may be left out where it is clear."""
    from ai_how.cluster import lifecycle
    from ai_how.cluster.state import UnknownNameError, known_clusters

    first, *rest = words
    if first in known_clusters() or first.endswith((".yaml", ".yml")):
        if not rest:
            nodes = [n.name for n in lifecycle.made(first)[1].nodes if n.cluster == "hpc"]
            raise UnknownNameError(f"name a node of {first!r} too; it has {', '.join(nodes)}")
        return first, rest[0], rest[1:]
    having = []
    for name in known_clusters():
        plan = lifecycle.made(name)[1]
        if first in {node.name for node in plan.nodes if node.cluster == "hpc"}:
            having.append(name)
    if len(having) == 1:
        return having[0], first, rest
    if having:
        raise UnknownNameError(
            f"{first!r} is a node of {', '.join(having)}; name the cluster first: "
            f"ai-how ssh {having[0]} {first}"
        )
    names = ", ".join(known_clusters()) or "none"
    raise UnknownNameError(f"{first!r} is neither a cluster nor a node of one; made are: {names}")
