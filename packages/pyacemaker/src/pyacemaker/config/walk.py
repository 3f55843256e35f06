"""The walk by kinetic Monte Carlo: its settings, and the structure it begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from pyacemaker.config.oracle_choice import absolute
from pyacemaker.config.physics import Ruled
from pyacemaker.config.settings import DynamicsSettings, WalkStart
from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.kmc.settings import KMCSettings

if TYPE_CHECKING:
    from pyacemaker.config.choices import Choices


def resolve_walk(
    choices: Choices, base_dir: Path, dynamics: DynamicsSettings
) -> tuple[KMCSettings | None, WalkStart | None]:
    """Return the walk's settings and its start; None where kmc does not explore.

    Raises ConfigError for a structure that cannot be walked from, or a section `kmc` that
    nothing would read.
    """
    section: Any = choices.config.kmc
    if "kmc" not in dynamics.explorers:
        if section.model_fields_set:
            raise choices.refuse(
                ("kmc",),
                "nothing walks by kinetic Monte Carlo; write `dynamics: kmc` or `dynamics: "
                "[md, kmc]`, or leave this section out",
            )
        return None, None
    coldest = dynamics.temperatures_K[0]
    rule = Ruled(coldest, "the lowest of temperatures_K, where rare events matter most")
    settings = choices.fill("kmc", KMCSettings, {"temperature_K": rule})
    if section.structure is None:
        words = f"the reference crystal in a cell of at least {dynamics.atoms} atoms, less one"
        choices.note(("kmc", "structure"), None, "default", words)
        return settings, None
    try:
        start = _read(section.structure, base_dir, choices.config.elements)
    except ValueError as error:
        raise choices.refuse(("kmc", "structure"), str(error)) from None
    words = f"{len(start.symbols)} atoms, {len(start.held)} of them held"
    choices.note(("kmc", "structure"), section.structure, "user", words)
    return settings, start


def _read(name: str, base_dir: Path, elements: list[str]) -> WalkStart:
    """Read a structure file. Raises ValueError with the remedy."""
    from ase.io import read

    from pyacemaker.dynamics.kmc.start import check_start

    path = absolute(name, base_dir)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        atoms = read(path)
    except Exception as error:  # ASE raises whatever a format's reader does
        raise ValueError(f"{path} cannot be read as a structure: {error}") from None
    if not isinstance(atoms, Atoms):
        raise ValueError(f"{path} must hold one structure")
    try:
        check_start(atoms)
    except DynamicsError as error:
        raise ValueError(f"{path}: {error}") from None
    if foreign := sorted(set(atoms.get_chemical_symbols()) - set(elements)):
        raise ValueError(
            f"{path} holds {', '.join(foreign)}, not among elements [{', '.join(elements)}]"
        )
    return WalkStart.of(atoms, name)
