"""A model as LAMMPS' `fix external`: forces, energy and virial by callback.

See LAMMPS' manual, `fix external` and `lammps_set_fix_external_callback`. The model gets the
whole box at every step, so LAMMPS runs as one process, and the model uses what it uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from rootstock.errors import RootstockError

Array = NDArray[np.float64]

# ASE's order xx yy zz yz xz xy; LAMMPS' is xx yy zz xy xz yz
_LAMMPS_ORDER = [0, 1, 2, 5, 4, 3]


class FixModel:
    """Gives a LAMMPS instance the forces, energy and virial of an ASE calculator.

    The box must be there, with `units metal`, and the instance must be one process. A pair
    style that is there adds its own forces; `pair_style zero` adds none. Energy and pressure
    in the thermodynamic output, and to the barostat, include the model's.

    Exceptions do not pass through LAMMPS: after one, the run is stopped at once, and
    `command` raises it. So give the commands that run something to `command`.

    Parameters
    ----------
    lmp
        A `lammps.lammps`, for instance from `load_lammps`.
    calculator
        Any ASE calculator, such as a RootstockCalculator.
    species
        The element of each atom type, in the order of the types.
    virial
        False for a model without a stress. The pressure then lacks the model's part, so a
        barostat makes no sense.
    fix_id
        The fix's name in LAMMPS; it is made if it is not there.

    Raises
    ------
    RootstockError
        If the instance is not as described.
    """

    def __init__(
        self,
        lmp: Any,
        calculator: Any,
        species: Sequence[str],
        *,
        virial: bool = True,
        fix_id: str = "rootstock",
    ) -> None:
        self._lmp = lmp
        self._calculator = calculator
        self._id = fix_id
        self._virial = virial
        self._error: BaseException | None = None
        self._atoms: Atoms | None = None
        unknown = [name for name in species if name not in atomic_numbers]
        if unknown:
            raise RootstockError(f"species: {unknown[0]!r} is no element")
        self._numbers = np.array([0, *(atomic_numbers[name] for name in species)])
        if (units := _units(lmp)) != "metal":
            raise RootstockError(f"LAMMPS uses {units} units: write `units metal` in its input")
        if (ranks := int(lmp.extract_setting("world_size"))) != 1:
            raise RootstockError(f"LAMMPS runs as {ranks} processes: fix external needs one")
        if not int(lmp.extract_setting("box_exist")):
            raise RootstockError("LAMMPS has no box yet: read the data or create the box first")
        if (types := int(lmp.extract_setting("ntypes"))) != len(species):
            raise RootstockError(f"LAMMPS has {types} atom types, {len(species)} species are given")
        if not lmp.has_id("fix", fix_id):
            lmp.command(f"fix {fix_id} all external pf/callback 1 1")
        lmp.command(f"fix_modify {fix_id} energy yes virial {'yes' if virial else 'no'}")
        lmp.set_fix_external_callback(fix_id, self._callback, None)

    def command(self, text: str) -> None:
        """Have LAMMPS execute one command, or several lines of them.

        Raises what the calculator raised meanwhile, and LAMMPS' own errors.
        """
        for line in text.strip().splitlines():
            if not line.strip():
                continue
            self._error = None
            try:
                self._lmp.command(line)
            finally:
                error, self._error = self._error, None
                if error is not None:
                    self._lmp.command("timer timeout off")  # the stop is for this run alone
                    raise error

    def close(self) -> None:
        """Take the fix out of LAMMPS; the calculator stays as it is."""
        if self._lmp.has_id("fix", self._id):
            self._lmp.command(f"unfix {self._id}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _callback(
        self,
        _caller: Any,
        _step: int,
        _count: int,
        tags: NDArray[Any],
        positions: Array,
        forces: Array,
    ) -> None:
        """Fill in forces (eV/angstrom), and set energy (eV) and virial (eV)."""
        if self._error is not None:
            forces[:] = 0.0
            return
        try:
            # by tag: LAMMPS sorts its atoms anew every so often
            order = np.argsort(np.ravel(tags))
            atoms = self._structure(order, positions)
            energy = float(atoms.get_potential_energy())
            computed = atoms.get_forces()
            virial = -atoms.get_stress() * atoms.get_volume() if self._virial else None
        except BaseException as error:  # it must not pass into LAMMPS, which drops it
            self._error = error
            forces[:] = 0.0
            self._lmp.force_timeout()
            return
        forces[order] = computed
        self._lmp.fix_external_set_energy_global(self._id, energy)
        if virial is not None:
            self._lmp.fix_external_set_virial_global(self._id, virial[_LAMMPS_ORDER])

    def _structure(self, order: NDArray[Any], positions: Array) -> Atoms:
        lower, upper, xy, yz, xz, periodic, _ = self._lmp.extract_box()
        (x, y, z) = np.subtract(upper, lower)
        cell = [[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]]
        types = np.ravel(self._lmp.numpy.extract_atom("type"))[: len(order)]
        numbers = self._numbers[types[order]]
        atoms = self._atoms
        if atoms is None or len(atoms) != len(numbers):
            atoms = Atoms(numbers=numbers)
            atoms.calc = self._calculator
            self._atoms = atoms
        atoms.numbers[:] = numbers
        atoms.pbc = [bool(p) for p in periodic]
        atoms.cell[:] = cell
        atoms.positions[:] = positions[order] - lower
        return atoms


def masses(species: Sequence[str]) -> list[str]:
    """Return LAMMPS' commands for the atoms' masses."""
    return [f"mass {n} {atomic_masses[atomic_numbers[s]]:.10g}" for n, s in enumerate(species, 1)]


def _units(lmp: Any) -> str:
    units = lmp.extract_global("units")
    return units.decode() if isinstance(units, bytes) else str(units)
