"""What a UPF file says of itself: element, kind, functional, valence, cutoffs.

UPF 2 (attributes of PP_HEADER) and UPF 1 (lines of PP_HEADER), which older tables use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyacemaker.files import sha256_of

_ATTRIBUTE = re.compile(r'([\w-]+)\s*=\s*"\s*([^"]*?)\s*"')
# What the files write for the functionals we know (Quantum ESPRESSO's funct.f90).
_FUNCTIONALS = {
    "PBE": {"PBE", "SLA PW PBX PBC", "SLA PW PBE PBE"},
    "PBEsol": {"PBESOL", "SLA PW PSX PSC"},
    "LDA": {"LDA", "PZ", "PW", "SLA PZ NOGX NOGC", "SLA PW NOGX NOGC"},
}


class PseudopotentialError(ValueError):
    """A pseudopotential that is missing, damaged or unfit; one line that names it."""


@dataclass(frozen=True)
class UPF:
    """A pseudopotential file. Cutoff hints in Ry; None where the file gives none."""

    path: Path
    sha256: str
    element: str
    kind: Literal["NC", "US", "PAW"]
    functional: str
    valence: float
    ecutwfc_hint_Ry: float | None
    ecutrho_hint_Ry: float | None

    @property
    def least_dual(self) -> float:
        """Return the least ecutrho / ecutwfc: 4 for norm-conserving, 8 where charge is augmented.

        Quantum ESPRESSO's input description (INPUT_PW, ecutrho): 8 to 12 for ultrasoft.
        """
        return 4.0 if self.kind == "NC" else 8.0


def read_upf(path: Path) -> UPF:
    """Read the header of a UPF file. Raises PseudopotentialError naming the file."""
    try:
        text = path.read_text(errors="replace")
        digest = sha256_of(path)
    except OSError as error:
        raise PseudopotentialError(f"pseudopotential {path}: {error.strerror}") from error
    try:
        return _parsed(path, digest, text)
    except (KeyError, ValueError, IndexError) as error:
        raise PseudopotentialError(
            f"pseudopotential {path} is damaged or no UPF file ({error}); put a whole one there"
        ) from error


def _parsed(path: Path, digest: str, text: str) -> UPF:
    opening = re.search(r"<PP_HEADER\b([^>]*)>", text)
    if opening is None:
        raise ValueError("no PP_HEADER")
    if not re.search(r"</PP_RHOATOM\s*>", text):
        raise ValueError("it ends before PP_RHOATOM")
    attributes = dict(_ATTRIBUTE.findall(opening[1]))
    if not attributes:
        attributes = _header_lines(text, opening.end())
    kind = attributes["pseudo_type"].upper()
    kinds: dict[str, Literal["NC", "US", "PAW"]] = {
        "NC": "NC", "SL": "NC", "US": "US", "USPP": "US", "PAW": "PAW"
    }  # fmt: skip
    if kind not in kinds:
        raise ValueError(f"the pseudopotential type {kind} is not supported")
    wfc = _positive(attributes.get("wfc_cutoff"))
    rho = _positive(attributes.get("rho_cutoff"))
    if (oncv := oncv_cutoff(text)) is not None:
        wfc, rho = oncv, 4 * oncv  # rho_cutoff is a radius in files of ONCVPSP
    return UPF(
        path=path,
        sha256=digest,
        element=attributes["element"].capitalize(),
        kind=kinds[kind],
        functional=functional_name(attributes["functional"]),
        valence=float(attributes["z_valence"]),
        ecutwfc_hint_Ry=wfc,
        ecutrho_hint_Ry=rho if wfc is not None else None,
    )


def _header_lines(text: str, start: int) -> dict[str, str]:
    """Return a UPF 1 header's lines as if they were attributes."""
    lines = text[start:].split("</PP_HEADER>", maxsplit=1)[0].strip().splitlines()
    suggested = lines[7].split()
    return {
        "element": lines[1].split()[0],
        "pseudo_type": lines[2].split()[0],
        "functional": lines[4].split("Exchange")[0],
        "z_valence": lines[5].split()[0],
        "wfc_cutoff": suggested[0],
        "rho_cutoff": suggested[1],
    }


def functional_name(written: str) -> str:
    """Return PBE, PBEsol or LDA for what a UPF file writes, else that text."""
    words = " ".join(written.upper().replace("-", " ").split())
    words = re.sub(r"(\bPBE\b)( \1)+$", r"PBE", words) if words.startswith("PBE") else words
    for name, spellings in _FUNCTIONALS.items():
        for spelling in spellings:
            # UPF 1 adds the short name after the four components
            if words == spelling or (words.startswith(f"{spelling} ") and spelling.count(" ") == 3):
                return name
    return words


def oncv_cutoff(text: str) -> float | None:
    """Return the cutoff (Ry) that an ONCVPSP file was optimised for, or None in other files.

    ONCVPSP minimises, for each angular momentum, the kinetic energy of the pseudo-wave
    beyond a wave number qcut (D. R. Hamann, Phys. Rev. B 88, 085117 (2013)), which the
    input kept in PP_INPUTFILE gives. A plane wave of qcut (1/bohr) has qcut^2 Ry. For
    Si, Cu, O, Ti and Al of PseudoDojo this is within 15 % of the published "normal" hints;
    for hydrogen it is far above what is needed. It is a start, not a proof.
    """
    block = re.search(r"<PP_INPUTFILE>(.*?)</PP_INPUTFILE>", text, re.DOTALL)
    if block is None:
        return None
    table = re.search(r"#[^\n]*\bqcut\b[^\n]*\n(.*?)(?:\n\s*#|\Z)", block[1], re.DOTALL)
    if table is None:
        return None
    rows = [line.split() for line in table[1].splitlines() if line.strip()]
    waves = [float(row[5]) for row in rows if len(row) == 6]
    return max(waves) ** 2 if waves else None


def _positive(text: str | None) -> float | None:
    value = float(text.upper().replace("D", "E")) if text else 0.0
    return value if value > 0 else None
