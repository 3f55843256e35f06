"""How NVIDIA's MIG divides a GPU: profiles, and where instances may lie.

A GPU has seven compute slices and eight memory slices. An instance of a profile takes a fixed
number of both, and may begin only at certain memory slices. Profile numbers and placements are
those of `nvidia-smi mig -lgip` and `-lgipp`, as printed in NVIDIA's Multi-Instance GPU User
Guide (chapters Supported MIG Profiles and Getting Started with MIG); they are the same for
A100, H100 and H200 but for the names, which carry the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ai_how.errors import BadRequestError

_COMPUTE_SLICES = 7
# GPU -> memory in GB that the names of 1g, 1g with two memory slices, 2g, 3g, 4g, 7g carry.
_MEMORY_GB = {
    "a100-40gb": (5, 10, 10, 20, 20, 40),
    "a100-80gb": (10, 20, 20, 40, 40, 80),
    "h100-80gb": (10, 20, 20, 40, 40, 80),
    "h200-141gb": (18, 35, 35, 71, 71, 141),
}
MODELS = tuple(_MEMORY_GB)


class MigError(BadRequestError):
    """A division that the GPU cannot have; the message says why and what it could."""


@dataclass(frozen=True)
class Profile:
    """A kind of GPU instance. `starts` are the memory slices at which it may begin."""

    name: str
    number: int
    compute_slices: int
    memory_slices: int
    starts: tuple[int, ...]


@dataclass(frozen=True)
class Instance:
    """A GPU instance, which takes memory slices from `start` on."""

    profile: Profile
    start: int


def profiles(model: str) -> dict[str, Profile]:
    """Return the profiles of a GPU by name. Raises MigError for a GPU that MIG does not divide."""
    if model not in _MEMORY_GB:
        raise MigError(f"MIG does not divide {model!r}; it divides {', '.join(MODELS)}")
    one, double, two, three, four, seven = _MEMORY_GB[model]
    found = [
        Profile(f"1g.{one}gb", 19, 1, 1, (0, 1, 2, 3, 4, 5, 6)),
        Profile(f"1g.{one}gb+me", 20, 1, 1, (0, 1, 2, 3, 4, 5, 6)),
        Profile(f"1g.{double}gb", 15, 1, 2, (0, 2, 4, 6)),
        Profile(f"2g.{two}gb", 14, 2, 2, (0, 2, 4)),
        Profile(f"3g.{three}gb", 9, 3, 4, (0, 4)),
        Profile(f"4g.{four}gb", 5, 4, 4, (0,)),
        Profile(f"7g.{seven}gb", 0, 7, 8, (0,)),
    ]
    return {profile.name: profile for profile in found}


def place(model: str, names: Sequence[str]) -> list[Instance]:
    """Return where instances of these profiles lie, largest first.

    Raises
    ------
    MigError
        If a name is no profile of the GPU, or they do not fit on it together.
    """
    known = profiles(model)
    if strangers := [name for name in names if name not in known]:
        raise MigError(f"{strangers[0]!r} is no profile of {model}; there are {', '.join(known)}")
    if not names:
        raise MigError(f"name at least one profile of {', '.join(known)}")
    wanted = sorted((known[name] for name in names), key=lambda p: (-p.memory_slices, -p.number))
    compute = sum(profile.compute_slices for profile in wanted)
    if compute > _COMPUTE_SLICES:
        raise MigError(f"{', '.join(names)} take {compute} compute slices; a GPU has seven")
    if sum(profile.name.endswith("+me") for profile in wanted) > 1:
        raise MigError("a GPU has media engines for one instance with +me")
    found = _place(wanted, frozenset())
    if found is None:
        memory = sum(profile.memory_slices for profile in wanted)
        why = (
            f"they take {memory} memory slices, and a GPU has eight"
            if memory > 8
            else "no arrangement lets each begin where it may"
        )
        raise MigError(f"{', '.join(names)} do not fit on {model} together: {why}")
    return found


def nvidia_smi(index: int, instances: Sequence[Instance]) -> list[str]:
    """Return the commands that divide the GPU number `index` so."""
    places = ",".join(f"{instance.profile.number}:{instance.start}" for instance in instances)
    return [
        f"nvidia-smi -i {index} -mig 1",
        f"nvidia-smi mig -i {index} -dci",
        f"nvidia-smi mig -i {index} -dgi",
        f"nvidia-smi mig -i {index} -cgi {places} -C",
    ]


def gres(model: str, instances: Sequence[Instance]) -> str:
    """Return the node's ``Gres=`` value: types as slurmd's AutoDetect=nvml names MIG devices.

    See "MIG Management" of SLURM's gres.html: the GPU's name, and the profile behind ``_``.
    """
    names = [instance.profile.name for instance in instances]
    short = model.partition("-")[0]
    return ",".join(f"gpu:{short}_{name}:{names.count(name)}" for name in dict.fromkeys(names))


def _place(wanted: Sequence[Profile], taken: frozenset[int]) -> list[Instance] | None:
    if not wanted:
        return []
    first, *rest = wanted
    for start in first.starts:
        slices = frozenset(range(start, start + first.memory_slices))
        if not slices & taken:
            found = _place(rest, taken | slices)
            if found is not None:
                return [Instance(first, start), *found]
    return None
