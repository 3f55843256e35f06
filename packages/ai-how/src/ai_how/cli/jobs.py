"""Jobs: submit, queue, env, profile; thin over sbatch and squeue."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ai_how.cli.base import JOBS, Cluster, JsonFlag, refusing, tell, tell_apart


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(context_settings={"ignore_unknown_options": True}, rich_help_panel=JOBS)(submit)
    for command in (queue, env, profile):
        app.command(rich_help_panel=JOBS)(command)


def submit(
    cluster: Cluster,
    arguments: Annotated[
        list[str],
        typer.Argument(help="As for sbatch: options, the script, its arguments.", metavar="JOB"),
    ],
) -> None:
    """Hand a job script to the cluster's sbatch and print the job's number.

    ai-how submit lab --ntasks=2 job.sh        ai-how submit lab --wrap='srun hostname'

    Where nodes do not see this folder, the job runs in the shared one, and writes its output there.
    """
    from ai_how.cluster import lifecycle
    from ai_how.cluster import profile as profiles
    from ai_how.slurm import commands

    with refusing():
        _, plan, driver = lifecycle.made(cluster)
        shared = profiles.shared_folder(plan)
        if profiles.unseen(plan, [Path.cwd()], shared) and not commands.says_where(arguments):
            arguments = [f"--chdir={shared}", *arguments]
            tell_apart(f"nodes do not see {Path.cwd()}; the job runs and writes in {shared}")
        typer.echo(commands.submit(arguments, driver.environment()))


def queue(
    cluster: Cluster,
    finished: Annotated[
        bool, typer.Option("--finished", help="Jobs that ended, and how, instead.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the jobs that wait and run."""
    from ai_how.cli.showing import print_finished, print_queue
    from ai_how.cluster import lifecycle
    from ai_how.slurm import commands

    with refusing():
        _, plan, driver = lifecycle.made(cluster)
        if finished:
            ended = commands.finished(driver.job_record(plan))
            if as_json:
                typer.echo(json.dumps(ended, indent=1))
            else:
                print_finished(ended)
            return
        jobs = commands.queue(driver.environment())
    if as_json:
        typer.echo(json.dumps([asdict(job) for job in jobs], indent=1))
    elif jobs:
        print_queue(jobs)
    else:
        tell("no job waits or runs")


def env(cluster: Cluster) -> None:
    """Print the line that makes sbatch, squeue and srun speak to the cluster.

    eval "$(ai-how env laptop)"
    """
    from ai_how.cluster import lifecycle

    with refusing():
        _, _, driver = lifecycle.made(cluster)
        typer.echo(f"export SLURM_CONF={shlex.quote(driver.environment()['SLURM_CONF'])}")


def profile(
    cluster: Cluster,
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", help="Partition; by default the cluster's.")
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option("--labels-per-node", help="Labels at once on a node; by default its cores."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Campaign file to put the section into; made if missing."
        ),
    ] = None,
    rootstock: Annotated[
        Path | None,
        typer.Option("--rootstock", help="clusters.yaml of rootstock to put the cluster into."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write what makes a campaign run on the cluster, and rootstock know it.

    Without --output and --rootstock both are printed, as two YAML documents. A file that is
    there keeps everything else that it says.

    ai-how profile lab --output config.yaml --rootstock ~/.config/rootstock/clusters.yaml
    """
    from ai_how.cluster import lifecycle
    from ai_how.cluster import profile as profiles

    with refusing():
        _, plan, driver = lifecycle.made(cluster)
        shared = profiles.shared_folder(plan)
        found = profiles.make_profile(plan, driver, shared, partition, labels)
        if output is not None:
            profiles.merge_section(output, "execution", found.execution_text())
        if rootstock is not None:
            profiles.merge_roots(rootstock, found.roots)
    if as_json:
        data = {"execution": found.execution, "rootstock": {"clusters": found.roots}}
        typer.echo(json.dumps(data, indent=1))
        return
    folders = [*profiles.python_folders(), Path.cwd()]
    for folder in profiles.unseen(plan, folders, shared):
        tell(
            f"nodes do not see {folder}; put it among the mounts of compute_nodes: "
            f"{{source: {folder}, target: {folder}}}"
        )
    if output is not None:
        tell(f"{output}: execution on {found.cluster}; next: pyacemaker run {output}")
    if rootstock is not None:
        tell(f"{rootstock}: {found.cluster}, next: rootstock init --cluster {found.cluster}")
    if output is None and rootstock is None:
        typer.echo(found.execution_text(), nl=False)
        typer.echo(f"---\n# for rootstock's clusters.yaml\n{found.roots_text()}", nl=False)
