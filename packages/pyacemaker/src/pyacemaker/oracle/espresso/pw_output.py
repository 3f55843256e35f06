"""What pw.x left behind: a converged result, or why there is none.

Numbers come from the XML file (Hartree atomic units, all digits); the text must agree.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree, Rydberg

from pyacemaker.oracle.band_gap import band_gap
from pyacemaker.oracle.espresso.healing.diagnose import diagnose
from pyacemaker.oracle.espresso.healing.diagnosis import Diagnosis
from pyacemaker.oracle.espresso.healing.evidence import Ending, Evidence
from pyacemaker.oracle.espresso.healing.run_text import read_text
from pyacemaker.oracle.espresso.pw_input import OUT_FOLDER, PREFIX

XML = Path(OUT_FOLDER) / f"{PREFIX}.save" / "data-file-schema.xml"
_ENERGY_DIGITS_RY = 2e-7  # the text gives 8 decimals
_SAME_PLACE_BOHR = 1e-5
_SAME_LEVEL_HARTREE = 1e-8


class NoResultError(Exception):
    """No label could be read; `diagnosis` says why."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.evidence)
        self.diagnosis = diagnosis


@dataclass(frozen=True)
class Result:
    """A converged SCF. Stress in ASE's sign and order: of the box that was computed.

    `energy_eV` is the free energy E - TS of the smeared electrons, whose derivatives
    the forces and the stress are (N. Marzari et al., Phys. Rev. Lett. 82, 3296 (1999)).
    `gap_eV` is None where the run does not tell it (`oracle.band_gap`).
    """

    energy_eV: float
    forces_eV_per_A: np.ndarray[Any, Any]
    stress_eV_per_A3: np.ndarray[Any, Any]
    smearing_eV: float
    scf_steps: int
    kpoints: int
    magnetization_muB: float
    gap_eV: float | None = None


def read_result(folder: Path, output: Path, box: Atoms, ending: Ending | None = None) -> Result:
    """Read the result in `folder`. Raises NoResultError unless it is whole and converged.

    Parameters
    ----------
    folder
        Working directory of pw.x.
    output
        Its text output.
    box
        The cell that was computed; number, kinds and places of atoms are compared.
    ending
        How the process ended, where that is known.
    """
    diagnosis = diagnosis_of(folder, output, ending)
    if not diagnosis.ok:
        raise NoResultError(diagnosis)
    try:
        root = ET.parse(folder / XML).getroot()  # noqa: S314 - written by our own child process
        result = _from_xml(root, box, diagnosis)
    except (OSError, ET.ParseError) as error:
        raise NoResultError(
            replace(
                diagnosis,
                name="xml_truncated",
                evidence=f"pw.x left no whole result ({XML.name}: {error})",
            )
        ) from error
    except (ValueError, AttributeError, TypeError, IndexError, LookupError) as error:
        raise NoResultError(
            replace(
                diagnosis,
                name="inconsistent_output",
                evidence=f"pw.x left no whole result ({XML.name}: {error})",
            )
        ) from error
    if diagnosis.energy_Ry is None or (
        abs(diagnosis.energy_Ry - result.energy_eV / Rydberg) > _ENERGY_DIGITS_RY
    ):
        raise NoResultError(
            replace(
                diagnosis,
                name="inconsistent_output",
                evidence="text and XML of pw.x do not agree on the total energy",
            )
        )
    return result


def diagnosis_of(folder: Path, output: Path, ending: Ending | None = None) -> Diagnosis:
    """Return the diagnosis of a run of ours, whose files have known names."""

    def content(path: Path) -> str:
        try:
            return read_text(path) if path.is_file() else ""
        except OSError:
            return ""

    crash = content(folder / "CRASH")
    return diagnose(Evidence(content(output), output, crash=crash, ending=ending))


def _from_xml(root: ET.Element, box: Atoms, diagnosis: Diagnosis) -> Result:
    output = root.find("output")
    if output is None:
        raise ValueError("no output section")
    if _text(output, "convergence_info/scf_conv/convergence_achieved") != "true":
        steps = _text(output, "convergence_info/scf_conv/n_scf_steps")
        why = f"the SCF did not converge in {steps} steps"
        raise NoResultError(replace(diagnosis, name="scf_not_converged", evidence=why))
    status = root.findtext("exit_status", "0").strip()  # older programs write none
    if status != "0":
        raise ValueError(f"exit status {status}")
    _demand_same(output, box)
    energy = float(_text(output, "total_energy/etot")) * Hartree
    forces = _array(output, "forces", (len(box), 3)) * (Hartree / Bohr)
    stress = -_array(output, "stress", (3, 3)) * (Hartree / Bohr**3)  # ASE: tension positive
    for what, numbers in (("energy", energy), ("forces", forces), ("stress", stress)):
        if not np.isfinite(numbers).all():
            raise ValueError(f"the {what} is not finite")
    demet = output.findtext("total_energy/demet")
    magnetization = output.findtext("magnetization/total")
    return Result(
        energy_eV=energy,
        forces_eV_per_A=forces,
        stress_eV_per_A3=stress.reshape(9)[[0, 4, 8, 5, 2, 1]],
        smearing_eV=float(demet) * Hartree if demet else 0.0,
        scf_steps=int(_text(output, "convergence_info/scf_conv/n_scf_steps")),
        kpoints=int(_text(output, "band_structure/nks")),
        magnetization_muB=float(magnetization) if magnetization else 0.0,
        gap_eV=_gap(output),
    )


def _gap(output: ET.Element) -> float | None:
    """Return the band gap (eV), None where the file does not tell it; never an error."""
    bands = output.find("band_structure")
    if bands is None or bands.findtext("noncolin", "false").strip() == "true":
        return None
    try:
        fermi = _numbers(bands.findtext("fermi_energy") or bands.findtext("highestOccupiedLevel"))
        levels = np.array(
            [_numbers(k.findtext("eigenvalues")) for k in bands.findall("ks_energies")]
        )
        if levels.ndim != 2 or len(fermi) != 1:
            return None
        channels = [levels]
        if bands.findtext("lsda", "false").strip() == "true":  # spin up, then down, in one row
            up = int(_text(bands, "nbnd_up"))
            channels = [levels[:, :up], levels[:, up:]]
    except ValueError:
        return None
    # With fixed occupations this is the highest occupied level itself.
    below = [values <= fermi[0] + _SAME_LEVEL_HARTREE for values in channels]
    return band_gap([values * Hartree for values in channels], below)


def _demand_same(output: ET.Element, box: Atoms) -> None:
    structure = output.find("atomic_structure")
    if structure is None:
        raise ValueError("no atomic structure")
    atoms = structure.findall("atomic_positions/atom")
    if [atom.get("name") for atom in atoms] != box.get_chemical_symbols():
        raise ValueError("it is of other atoms")
    places = np.array([_numbers(atom.text) for atom in atoms])
    cell = np.array([_numbers(structure.findtext(f"cell/a{i}")) for i in (1, 2, 3)])
    same = np.allclose(places * Bohr, box.get_positions(), atol=_SAME_PLACE_BOHR) and np.allclose(
        cell * Bohr, box.cell.array, atol=_SAME_PLACE_BOHR
    )
    if not same:
        raise ValueError("it is of another structure")


def _text(element: ET.Element, path: str) -> str:
    found = element.findtext(path)
    if found is None:
        raise ValueError(f"no {path}")
    return found.strip()


def _array(element: ET.Element, path: str, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    return np.array(_numbers(_text(element, path))).reshape(shape)


def _numbers(text: str | None) -> list[float]:
    return [float(word) for word in (text or "").split()]
