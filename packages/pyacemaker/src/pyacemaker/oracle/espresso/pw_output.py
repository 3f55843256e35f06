"""What pw.x left behind: a converged result, or why there is none.

Numbers come from the XML file (Hartree atomic units, all digits); the text must agree.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree, Rydberg

from pyacemaker.oracle.espresso.pw_input import OUT_FOLDER, PREFIX
from pyacemaker.oracle.espresso.remedies import Failure

XML = Path(OUT_FOLDER) / f"{PREFIX}.save" / "data-file-schema.xml"
_PERCENTS = "%" * 20
_ENERGY_DIGITS_RY = 2e-7  # the text gives 8 decimals
_SAME_PLACE_BOHR = 1e-5


class NoResultError(Exception):
    """No label could be read; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Result:
    """A converged SCF. Stress in ASE's sign and order: of the box that was computed.

    `energy_eV` is the free energy E - TS of the smeared electrons, whose derivatives
    the forces and the stress are (N. Marzari et al., Phys. Rev. Lett. 82, 3296 (1999)).
    """

    energy_eV: float
    forces_eV_per_A: np.ndarray[Any, Any]
    stress_eV_per_A3: np.ndarray[Any, Any]
    smearing_eV: float
    scf_steps: int
    kpoints: int
    magnetization_muB: float


def read_result(folder: Path, output: Path, box: Atoms) -> Result:
    """Read the result in `folder`. Raises NoResultError unless it is whole and converged.

    Parameters
    ----------
    folder
        Working directory of pw.x.
    output
        Its text output.
    box
        The cell that was computed; number, kinds and places of atoms are compared.
    """
    text = output.read_text(errors="replace") if output.is_file() else ""
    if (said := error_block(folder, text)) is not None:
        raise NoResultError(Failure("crash", f"pw.x stopped with an error: {said}", said))
    if "convergence NOT achieved" in text:
        steps = re.findall(r"convergence NOT achieved after\s+(\d+)", text)
        after = f" in {steps[-1]} steps" if steps else ""
        raise NoResultError(Failure("not converged", f"the SCF did not converge{after}"))
    if "JOB DONE." not in text:
        raise NoResultError(Failure("bad output", f"pw.x did not come to its end{_last(text)}"))
    try:
        root = ET.parse(folder / XML).getroot()  # noqa: S314 - written by our own child process
        result = _from_xml(root, box)
    except (OSError, ET.ParseError, ValueError, AttributeError, TypeError) as error:
        reason = f"pw.x left no whole result ({XML.name}: {error})"
        raise NoResultError(Failure("bad output", reason)) from error
    _compare(text, result)
    return result


def error_block(folder: Path, text: str) -> str | None:
    """Return the message between lines of per cent signs, of the output or of CRASH."""
    crash = folder / "CRASH"
    texts = [text, crash.read_text(errors="replace") if crash.is_file() else ""]
    for content in texts:
        parts = content.split(_PERCENTS)
        if len(parts) > 1:
            block = next((p for p in parts[1:] if p.strip(" %\n")), "")
            lines = [line.strip() for line in block.splitlines() if line.strip(" %")]
            return "; ".join(lines)[:400] or "no message"
    return None


def _from_xml(root: ET.Element, box: Atoms) -> Result:
    output = root.find("output")
    if output is None:
        raise ValueError("no output section")
    if _text(output, "convergence_info/scf_conv/convergence_achieved") != "true":
        steps = _text(output, "convergence_info/scf_conv/n_scf_steps")
        raise NoResultError(Failure("not converged", f"the SCF did not converge in {steps} steps"))
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
    )


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


def _compare(text: str, result: Result) -> None:
    written = re.findall(r"^!\s+total energy\s+=\s+(\S+)\s+Ry", text, re.MULTILINE)
    if not written or abs(float(written[-1]) - result.energy_eV / Rydberg) > _ENERGY_DIGITS_RY:
        raise NoResultError(
            Failure("bad output", "text and XML of pw.x do not agree on the total energy")
        )


def _text(element: ET.Element, path: str) -> str:
    found = element.findtext(path)
    if found is None:
        raise ValueError(f"no {path}")
    return found.strip()


def _array(element: ET.Element, path: str, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    return np.array(_numbers(_text(element, path))).reshape(shape)


def _numbers(text: str | None) -> list[float]:
    return [float(word) for word in (text or "").split()]


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"; its last line: {lines[-1][:200]}" if lines else " and wrote nothing"
