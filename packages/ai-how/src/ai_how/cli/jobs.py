"""Jobs: submit, queue, env; thin over sbatch and squeue."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from ai_how.cli.base import Cluster, JsonFlag, refusing, tell


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(context_settings={"ignore_unknown_options": True})(submit)
    app.command()(queue)
    app.command()(env)


def submit(
    cluster: Cluster,
    arguments: Annotated[
        list[str],
        typer.Argument(help="As for sbatch: options, the script, its arguments.", metavar="JOB..."),
    ],
) -> None:
    """Hand a job script to the cluster's sbatch and print the job's number.

    ai-how submit laptop --ntasks=2 job.sh
    """
    from ai_how.cluster import lifecycle  # noqa: PLC0415 - quick --help
    from ai_how.slurm import commands  # noqa: PLC0415

    with refusing():
        _, _, driver = lifecycle.made(cluster)
        typer.echo(commands.submit(arguments, driver.environment()))


def queue(
    cluster: Cluster,
    finished: Annotated[
        bool, typer.Option("--finished", help="Jobs that ended, and how, instead.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the jobs that wait and run."""
    from ai_how.cli.showing import print_finished, print_queue  # noqa: PLC0415
    from ai_how.cluster import lifecycle  # noqa: PLC0415
    from ai_how.cluster.state import folder_of  # noqa: PLC0415
    from ai_how.slurm import commands  # noqa: PLC0415

    with refusing():
        state, _, driver = lifecycle.made(cluster)
        if finished:
            ended = commands.finished(folder_of(state.name) / "log" / "finished.log")
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
    from ai_how.cluster import lifecycle  # noqa: PLC0415

    with refusing():
        _, _, driver = lifecycle.made(cluster)
        typer.echo(f"export SLURM_CONF={shlex.quote(driver.environment()['SLURM_CONF'])}")
