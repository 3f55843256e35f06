"""GPUs: list, plan, allocate, release."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ai_how.cli.base import JsonFlag, refusing, tell
from ai_how.errors import BadRequestError

gpu_app = typer.Typer(
    help="GPUs of this machine: which there are, whose they are, how MIG divides one.",
    no_args_is_help=True,
)

Sys = Annotated[Path, typer.Option("--sys", help="The kernel's tree to read, a recorded one too.")]
Addresses = Annotated[
    list[str], typer.Argument(help="PCI addresses: 0000:01:00.0.", metavar="ADDRESS")
]


@gpu_app.command("list")
def list_gpus(sys: Sys = Path("/sys"), as_json: JsonFlag = False) -> None:
    """List the GPUs of this machine, their owners, and what keeps each from being passed on."""
    from ai_how.gpu.owners import owners
    from ai_how.gpu.sysfs import find_gpus, passthrough_problems

    gpus = find_gpus(sys)
    with refusing():
        have = owners()
    whose = {address: owner.cluster for address, owner in have.items()}
    if as_json:
        rows = [
            {
                **asdict(gpu),
                "owner": whose.get(gpu.address),
                "passthrough_problems": passthrough_problems(gpu),
            }
            for gpu in gpus
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    for gpu in gpus:
        name = f"{gpu.maker} {gpu.model or gpu.device} [{gpu.vendor}:{gpu.device}]"
        owner = f"  owner {whose[gpu.address]}" if gpu.address in whose else ""
        tell(f"{gpu.address}  {name}  driver {gpu.driver or '-'}  group {gpu.iommu_group}{owner}")
        for problem in passthrough_problems(gpu):
            tell(f"  {problem}")
    if not gpus:
        tell("this machine has no GPU; declare emulated ones with `gpus` in the cluster's file")
    for address in sorted(set(whose) - {gpu.address for gpu in gpus}):
        tell(f"{address}  is no GPU of this machine (any more)  owner {whose[address]}")


@gpu_app.command()
def allocate(
    addresses: Addresses,
    cluster: Annotated[str, typer.Option("--cluster", "-c", help="The cluster that gets them.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also what cannot be passed through as it is.")
    ] = False,
    sys: Sys = Path("/sys"),
    as_json: JsonFlag = False,
) -> None:
    """Give GPUs to a cluster: no other can have them until they are released.

    `ai-how up` does it for the devices of its file, and `ai-how destroy` takes them back. All
    are given or none, and only those that can be passed through to a node.
    """
    from ai_how.gpu import owners
    from ai_how.gpu.sysfs import find_gpus, full_address

    named = [full_address(address) for address in addresses]
    with refusing():
        if not force and (problems := owners.check_gpus(named, find_gpus(sys))):
            raise owners.GpuError("\n".join(problems))
        given = owners.allocate(named, cluster)
    if as_json:
        typer.echo(json.dumps([asdict(owner) for owner in given], indent=1))
        return
    for owner in given:
        tell(f"{owner.address}: {owner.cluster} since {owner.since}")


@gpu_app.command()
def release(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(help="PCI addresses; left out: all of --cluster.", metavar="ADDRESS"),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", "-c", help="The cluster that had them.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take GPUs back from a cluster."""
    from ai_how.gpu import owners
    from ai_how.gpu.sysfs import full_address

    with refusing():
        if not addresses and cluster is None:
            raise BadRequestError("name GPUs by address, or all of a cluster with --cluster")
        named = [full_address(address) for address in addresses or ()]
        gone = owners.release(named, cluster)
    if as_json:
        typer.echo(json.dumps([asdict(owner) for owner in gone], indent=1))
        return
    for owner in gone:
        tell(f"{owner.address}: free, was {owner.cluster}'s")
    if not gone:
        tell(f"{cluster} had no GPU")


@gpu_app.command("plan")
def plan_mig(
    profiles: Annotated[
        list[str], typer.Argument(help="MIG profiles: 3g.40gb 2g.20gb.", metavar="PROFILE")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="a100-40gb, a100-80gb, h100-80gb, h200-141gb.")
    ],
    index: Annotated[int, typer.Option("--index", "-i", help="The GPU's number.", min=0)] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Say where MIG instances lie on a GPU, and the commands that make them; touches nothing.

    ai-how gpu plan -m h100-80gb 3g.40gb 2g.20gb 1g.10gb 1g.10gb
    """
    from ai_how.gpu import mig

    with refusing():
        instances = mig.place(model, profiles)
    commands, gres = mig.nvidia_smi(index, instances), mig.gres(model, instances)
    if as_json:
        rows = [{"profile": i.profile.name, "start": i.start} for i in instances]
        typer.echo(json.dumps({"instances": rows, "commands": commands, "gres": gres}, indent=1))
        return
    for instance in instances:
        last = instance.start + instance.profile.memory_slices - 1
        tell(f"{instance.profile.name:12} memory slices {instance.start} to {last}")
    for command in commands:
        tell(command)
    tell(f"slurm.conf: Gres={gres}")
