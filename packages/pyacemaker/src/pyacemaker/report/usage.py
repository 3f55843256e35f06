"""How to use the potential: snippets that run as they stand."""

from __future__ import annotations

from ase.data import atomic_numbers, reference_states

from pyacemaker.report.data import ReportData

_BULK = {"fcc", "bcc", "hcp", "diamond", "sc"}  # what ase.build.bulk makes from a name alone


def ase_snippet(data: ReportData) -> str:
    """Return Python that computes with the potential, or nothing where there is none."""
    if data.usage.ase or not data.potential_path:
        return data.usage.ase
    if len(data.elements) == 1 and _has_known_crystal(data.elements[0]):
        imports, atoms = "from ase.build import bulk", f"bulk({data.elements[0]!r})"
    else:
        imports, atoms = "from ase.io import read", 'read("structure.xyz")'
    return "\n".join(
        [
            imports,
            "from pyacemaker.potential import Potential",
            "",
            f"potential = Potential.load({data.potential_path!r})",
            f"atoms = {atoms}",
            "atoms.calc = potential.calculator()",
            "print(atoms.get_potential_energy())  # eV",
            "print(atoms.calc.results.keys())     # gamma, the extrapolation grade, among them",
        ]
    )


def lammps_snippet(data: ReportData) -> str:
    """Return LAMMPS input that uses the potential, or nothing where there is none.

    Atom types follow the potential's own order of elements, which is alphabetical.
    """
    if data.usage.lammps or not data.potential_path:
        return data.usage.lammps
    types = ", ".join(f"{i} = {e}" for i, e in enumerate(sorted(data.elements), start=1))
    return "\n".join(
        [
            "# needs a LAMMPS with the ML-PACE package",
            "units metal",
            "atom_style atomic",
            "read_data structure.data" + (f"   # atom types: {types}" if types else ""),
            f'variable potential_dir index "{data.potential_path}"',
            'include "${potential_dir}/in.potential.lmp"',
        ]
    )


def _has_known_crystal(element: str) -> bool:
    number = atomic_numbers.get(element)
    state = reference_states[number] if number else None
    return state is not None and state["symmetry"] in _BULK
