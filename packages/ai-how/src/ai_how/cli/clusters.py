"""The life cycle: up, down, start, stop, status, destroy, exec, logs, inventory, doctor."""

from __future__ import annotations

import contextlib
import json
from typing import Annotated

import typer

from ai_how.cli.base import (
    CLUSTER,
    EXIT_CODES_HELP,
    EXIT_FAILED,
    INSIDE,
    Cluster,
    JsonFlag,
    Progress,
    QuietFlag,
    refusing,
    tell,
    tell_apart,
)

Nodes = Annotated[list[str] | None, typer.Argument(help="Compute nodes.", metavar="NODE")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (up, status, start, stop, down, destroy, configure):
        told = EXIT_CODES_HELP if command in {up, status} else None
        app.command(epilog=told, rich_help_panel=CLUSTER)(command)
    app.command("list", rich_help_panel=CLUSTER)(list_clusters)
    for command in (logs, inventory):
        app.command(rich_help_panel=INSIDE)(command)
    app.command("exec", context_settings={"ignore_unknown_options": True}, rich_help_panel=INSIDE)(
        execute
    )


def up(cluster: Cluster, as_json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Make a cluster, or mend it: what is missing is made, what has died is started.

    It ends with a real job on every idle node. Run it again at any time, after a crash, a
    reboot or a change of the file: it does what is left to do. Running jobs survive.
    """
    from ai_how.cli.showing import print_status
    from ai_how.cluster import lifecycle

    with refusing():
        say = tell_apart if as_json and not quiet else Progress(quiet=quiet)
        found = lifecycle.up(cluster, say)
    if as_json:
        typer.echo(json.dumps(found.as_data(), indent=1))
    else:
        print_status(found)
        tell(f'jobs: ai-how submit {found.name} job.sh; or: eval "$(ai-how env {found.name})"')
    raise typer.Exit(0 if found.condition == "up" else EXIT_FAILED)


def status(cluster: Cluster, as_json: JsonFlag = False) -> None:
    """Tell how a cluster is; changes nothing. Exit code 1 if it is not as it should be."""
    from ai_how.cli.showing import print_status
    from ai_how.cluster import lifecycle

    with refusing():
        found = lifecycle.status(cluster)
    if as_json:
        typer.echo(json.dumps(found.as_data(), indent=1))
    else:
        print_status(found)
    raise typer.Exit(EXIT_FAILED if found.condition in {"degraded", "not made"} else 0)


def list_clusters(as_json: JsonFlag = False) -> None:
    """List the clusters of this user on this machine."""
    from ai_how.cluster import lifecycle
    from ai_how.cluster.state import StateError, known_clusters

    rows = []
    for name in known_clusters():
        row = {"name": name, "driver": "", "condition": "damaged", "nodes": 0}
        with contextlib.suppress(StateError):
            found = lifecycle.status(name)
            row |= {"driver": found.driver, "condition": found.condition}
            row["nodes"] = len(found.nodes) - 1
        rows.append(row)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        tell(f"{row['name']}  {row['condition']}  {row['nodes']} nodes  {row['driver']}".rstrip())
    if not rows:
        tell("no cluster; `ai-how init` writes a file, `ai-how up` makes it")


def start(cluster: Cluster, nodes: Nodes = None, quiet: QuietFlag = False) -> None:
    """Switch nodes on again; without names, the whole cluster as it was."""
    from ai_how.cli.showing import print_status
    from ai_how.cluster import lifecycle

    with refusing():
        print_status(lifecycle.start(cluster, nodes or [], Progress(quiet=quiet)))


def stop(
    cluster: Cluster,
    nodes: Annotated[list[str], typer.Argument(help="Compute nodes.", metavar="NODE")],
) -> None:
    """Switch nodes off; their jobs are requeued. `start` switches them on again."""
    from ai_how.cluster import lifecycle

    with refusing():
        lifecycle.stop(cluster, nodes)
    tell(f"off: {', '.join(nodes)}; again on: ai-how start {cluster} {' '.join(nodes)}")


def down(cluster: Cluster) -> None:
    """Switch the whole cluster off. Queue and files stay; `up` or `start` goes on."""
    from ai_how.cluster import lifecycle

    with refusing():
        lifecycle.down(cluster)
    tell(f"down; again up: ai-how up {cluster}")


def destroy(
    cluster: Cluster,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a cluster: its jobs, processes and files. The YAML stays."""
    from ai_how.cluster import lifecycle

    with refusing():
        name = lifecycle.name_of(cluster)
        if not yes and not typer.confirm(f"Remove the cluster {name} with its jobs and files?"):
            raise typer.Exit(EXIT_FAILED)
        was = lifecycle.destroy(cluster)
    tell(f"{name}: destroyed" if was else f"{name}: there was none")


def execute(
    cluster: Cluster,
    node: Annotated[str, typer.Argument(help="A node's name.", metavar="NODE")],
    command: Annotated[list[str], typer.Argument(help="Program and arguments.", metavar="COMMAND")],
) -> None:
    """Run a command in a node, with SLURM's commands speaking to this cluster.

    With the driver `process` a node is this machine, and the command runs here.
    """
    from ai_how.cluster import lifecycle

    with refusing():
        _, plan, driver = lifecycle.made(cluster)
        lifecycle.known_node(plan, node)
        code = driver.run_in(node, command)
    raise typer.Exit(code)


def configure(
    cluster: Cluster,
    check: Annotated[bool, typer.Option("--check", help="Say what would change, no more.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run the Ansible playbook on nodes that boot.

    `up` does so by itself where the file asks for `services` or another `storage.backend`.
    """
    from ai_how.cluster import lifecycle

    with refusing():
        say = tell_apart if as_json and not quiet else Progress(quiet=quiet)
        told = lifecycle.configure_nodes(cluster, say, check=check)
    if as_json:
        typer.echo(json.dumps(told, indent=1))


def logs(
    cluster: Cluster,
    node: Annotated[
        str, typer.Argument(help="A node's name, or `controller`.", metavar="NODE")
    ] = "controller",
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many, from the end.")] = 40,
) -> None:
    """Print the last lines of a node's logs."""
    from ai_how.cluster import lifecycle

    with refusing():
        _, plan, driver = lifecycle.made(cluster)
        role = lifecycle.known_node(plan, node)
        for path in driver.logs("controller" if role == "controller" else node):
            tell(f"==> {path}")
            if path.exists():
                for line in path.read_text(errors="replace").splitlines()[-lines:]:
                    tell(line)


def inventory(cluster: Cluster) -> None:
    """Print the nodes as an Ansible inventory (JSON, as of a dynamic inventory script)."""
    from ai_how.cluster import lifecycle

    with refusing():
        _, plan, driver = lifecycle.made(cluster)
        typer.echo(json.dumps(driver.inventory(plan), indent=1))


def doctor(as_json: JsonFlag = False) -> None:
    """Say what this machine can do, what it lacks, and what a crash left behind."""
    from ai_how.cluster.doctor import examine

    found = examine()
    if as_json:
        typer.echo(json.dumps([vars(check) for check in found], indent=1))
    else:
        for check in found:
            tell(f"{'ok     ' if check.passed else 'missing'}  {check.what}: {check.message}")
    if not all(check.passed or not check.needed for check in found):
        raise typer.Exit(EXIT_FAILED)
