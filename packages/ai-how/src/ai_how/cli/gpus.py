"""GPUs: list, plan."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from ai_how.cli.base import JsonFlag, refusing, tell

gpu_app = typer.Typer(help="GPUs of this machine, and how MIG divides one.", no_args_is_help=True)


@gpu_app.command("list")
def list_gpus(as_json: JsonFlag = False) -> None:
    """List the GPUs of this machine, and what keeps each from being passed through to a VM."""
    from ai_how.gpu.sysfs import find_gpus, passthrough_problems  # noqa: PLC0415 - quick --help

    gpus = find_gpus()
    if as_json:
        rows = [{**asdict(gpu), "passthrough_problems": passthrough_problems(gpu)} for gpu in gpus]
        typer.echo(json.dumps(rows, indent=1))
        return
    for gpu in gpus:
        name = f"{gpu.maker} {gpu.model or gpu.device}"
        tell(f"{gpu.address}  {name}  driver {gpu.driver or '-'}  group {gpu.iommu_group}")
        for problem in passthrough_problems(gpu):
            tell(f"  {problem}")
    if not gpus:
        tell("this machine has no GPU; declare emulated ones with `gpus` in the cluster's file")


@gpu_app.command("plan")
def plan_mig(
    profiles: Annotated[
        list[str], typer.Argument(help="MIG profiles: 3g.40gb 2g.20gb.", metavar="PROFILE...")
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
    from ai_how.gpu import mig  # noqa: PLC0415

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
