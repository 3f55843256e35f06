"""The forge reads top to bottom: blueprint, module, program, checks, measurement, kernel."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from esper.kasmina.blueprints import SiteShape, UnsuitableError
from esper.tezzeret.checks import Check, run_checks
from esper.tezzeret.ir import Blueprint, blueprint_id, canonical
from esper.tezzeret.measure import Cost, measure
from esper.tezzeret.module import BlueprintModule, build_seeded, weights_to_bytes
from esper.tezzeret.program import example, export_program, to_json

PIPELINE = "tezzeret-1"
"""The steps and limits of this file and of checks.py; another name for every change of them."""

PROGRAM = "program.json"
WEIGHTS = "weights.safetensors"
MAX_PARAMETERS = 2**26  # 256 MiB; anybody may ask a forge for a kernel
_BATCH = 64  # of the measurement


class Target(BaseModel):
    """Where a kernel is for: the shape of a site, and the width of the branch.

    `axis` and `spatial` as in SiteShape: -1 and 0 (features last), 1 and 0 (BatchNorm1d), or 1
    and 2 (images).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: int = Field(ge=1, le=16384)
    width: int = Field(default=16, ge=1, le=16384)
    axis: int = Field(default=-1, ge=-1, le=1)
    spatial: int = Field(default=0, ge=0, le=2)
    heads: int = Field(default=0, ge=0, le=64)
    seed: int = Field(default=0, ge=0, lt=2**62)

    @model_validator(mode="after")
    def _is_a_site(self) -> Target:
        if (self.axis, self.spatial) not in {(-1, 0), (1, 0), (1, 2)}:
            raise ValueError(
                f"no site has axis {self.axis} and spatial {self.spatial}; features last is -1 and "
                "0, an image 1 and 2, a BatchNorm1d 1 and 0"
            )
        return self

    def shape(self) -> SiteShape:
        """Return the shape of the site."""
        return SiteShape(self.features, axis=self.axis, spatial=self.spatial, heads=self.heads)

    @classmethod
    def at(cls, shape: SiteShape, width: int, seed: int = 0) -> Target:
        """Return the target for a site of this shape."""
        value = asdict(shape)
        value.pop("batch_first")
        return cls(**value, width=width, seed=seed)


@dataclass(frozen=True)
class Kernel:
    """A blueprint made for a target: its program, its first weights, what was checked, its cost.

    `passed` says whether every check was; a kernel that failed has no artifacts.
    """

    id: str
    blueprint: Blueprint
    target: Target
    pipeline: str
    torch: str
    isa: str
    checks: list[Check]
    cost: Cost | None
    artifacts: dict[str, bytes]

    @property
    def passed(self) -> bool:
        """Say whether the kernel may be used."""
        return self.cost is not None and all(check.passed for check in self.checks)


def instruction_set() -> str:
    """Return this machine's, as torch dispatches on it: x86_64-avx2, aarch64-default ..."""
    return f"{platform.machine()}-{torch.backends.cpu.get_cpu_capability().lower()}"


def torch_version() -> str:
    """Return the version of torch without the build's tag."""
    return torch.__version__.split("+", maxsplit=1)[0]


def kernel_id(blueprint: Blueprint, target: Target, isa: str | None = None) -> str:
    """Return the content address: sha256 of IR, target, pipeline, torch version and ISA."""
    value = {
        "ir": canonical(blueprint),
        "target": target.model_dump(),
        "pipeline": PIPELINE,
        "torch": torch_version(),
        "isa": isa or instruction_set(),
    }
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def forge(blueprint: Blueprint, target: Target) -> Kernel:
    """Make, check and measure a kernel.

    Never raises for a blueprint that fails: the kernel says which check, and why.
    """
    shape, site = target.shape(), blueprint.site
    artifacts: dict[str, bytes] = {}
    cost: Cost | None = None
    try:
        _refuse_giants(blueprint, target)
        module = build_seeded(blueprint, shape, target.width, target.seed)
    except UnsuitableError as error:
        checks = [Check(name="build", passed=False, found=str(error))]
    else:
        program, exporting = _export(module, shape, site, target.seed)
        checks = [*exporting, *run_checks(module, program, shape, site, target.seed)]
        if program is not None and all(check.passed for check in checks):
            generator = torch.Generator().manual_seed(target.seed)
            cost = measure(module, example(shape, site, _BATCH, generator))
            artifacts = {PROGRAM: program, WEIGHTS: weights_to_bytes(module)}
    return Kernel(
        id=kernel_id(blueprint, target),
        blueprint=blueprint,
        target=target,
        pipeline=PIPELINE,
        torch=torch_version(),
        isa=instruction_set(),
        checks=checks,
        cost=cost,
        artifacts=artifacts,
    )


def _refuse_giants(blueprint: Blueprint, target: Target) -> None:
    """Raise UnsuitableError for more parameters than a branch may have; none is made for that."""
    with torch.device("meta"):
        module = BlueprintModule(blueprint, target.shape(), target.width)
    count = sum(p.numel() for p in module.parameters())
    if count > MAX_PARAMETERS:
        raise UnsuitableError(
            f"{count} parameters are more than the {MAX_PARAMETERS} that a branch may have"
        )


def _export(
    module: BlueprintModule, shape: SiteShape, site: str, seed: int
) -> tuple[bytes | None, list[Check]]:
    generator = torch.Generator().manual_seed(seed)
    try:
        return to_json(export_program(module, example(shape, site, 3, generator))), [
            Check(name="export", passed=True, found="torch.export, dynamic batch")
        ]
    except Exception as error:  # torch.export raises whatever it stumbles over
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return None, [Check(name="export", passed=False, found=reason[0][:300])]


__all__ = [
    "PIPELINE",
    "PROGRAM",
    "WEIGHTS",
    "Kernel",
    "Target",
    "blueprint_id",
    "forge",
    "kernel_id",
]
