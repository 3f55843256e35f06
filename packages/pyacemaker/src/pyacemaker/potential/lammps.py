"""The LAMMPS side of the hybrid: ACE plus ZBL by `pair_style hybrid/overlay`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING

from ase.data import atomic_numbers

from pyacemaker.potential.manifest import PotentialError

if TYPE_CHECKING:
    from pyacemaker.trainer.baseline import ZblBaseline


def pair_commands(
    species: Sequence[str],
    baseline: ZblBaseline,
    ace: str,
    ace_files: Sequence[str],
    plugin_paths: Sequence[Path] = (),
) -> list[str]:
    """Return the commands that load plugins and define the pair styles.

    Parameters
    ----------
    species
        The element of each LAMMPS atom type, type 1 first.
    baseline
        Pairs of elements with equal radii share one `zbl` sub-style.
    ace
        ``pace`` (takes the .yace) or ``pace/extrapolation`` (takes the .yaml and the .asi;
        a .yace kills it without a word).
    ace_files
        The files that style takes, as LAMMPS will find them.
    plugin_paths
        Shared objects to load first.
    """
    wanted = {tuple(sorted(pair)) for pair in combinations_with_replacement(species, 2)}
    pairs = [pair for pair in baseline.pairs if pair.elements in wanted]
    radii = sorted({(pair.inner_A, pair.outer_A) for pair in pairs})
    styles = [ace, *(f"zbl {inner!r} {outer!r}" for inner, outer in radii)]
    names = " ".join(_quoted(name) for name in ace_files)
    commands = [f"plugin load {_quoted(str(path))}" for path in plugin_paths]
    commands.append(f"pair_style hybrid/overlay {' '.join(styles)}")
    commands.append(f"pair_coeff * * {ace} {names} {' '.join(species)}")
    by_elements = {pair.elements: pair for pair in pairs}
    for i, first in enumerate(species, start=1):
        for j, second in enumerate(species[i - 1 :], start=i):
            pair = by_elements.get((min(first, second), max(first, second)))
            if pair is None:
                continue
            # Where a sub-style occurs more than once LAMMPS wants its number after its name.
            number = f" {radii.index((pair.inner_A, pair.outer_A)) + 1}" if len(radii) > 1 else ""
            commands.append(
                f"pair_coeff {i} {j} zbl{number} {atomic_numbers[first]} {atomic_numbers[second]}"
            )
    return commands


def include_snippet(species: Sequence[str], baseline: ZblBaseline, yace: str) -> str:
    """Return the text of an include file for a user's own LAMMPS input."""
    types = " ".join(species)
    lines = [
        f"# Interatomic potential for {types}: ACE plus ZBL. Needs a LAMMPS with ML-PACE.",
        f"# Before it: `units metal` and the atoms, with atom types 1..N = {types}.",
        "# Where LAMMPS runs in another folder: lmp -var potential_dir FOLDER -in ...",
        "# Energies include the isolated atoms' energies, as the labels do.",
        "variable potential_dir index .",
        *pair_commands(species, baseline, "pace", [f"${{potential_dir}}/{yace}"]),
    ]
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    if '"' in name or "\n" in name:
        raise PotentialError(f"LAMMPS cannot read a path with a quote or a line break: {name!r}")
    return f'"{name}"' if any(c.isspace() or c in "#&'$" for c in name.replace("${", "")) else name
