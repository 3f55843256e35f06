"""The text output of one run, read once from top to bottom. Any text at all may be given."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pyacemaker.oracle.espresso.healing.history import SCF, Setting

BOHR_A = 0.529177210903
_HEAD_BYTES, _TAIL_BYTES = 1 << 20, 8 << 20
_LONGEST_LINE = 2000

_PROGRAM = re.compile(r"^\s*Program (\S[\w .+-]*?) v\.? ?(\S+)\s+.*starts", re.IGNORECASE)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?"
_NOT_A_NUMBER = re.compile(r"(?i)(?<![a-z])[-+]?(nan|inf(inity)?)(?![a-z])|\*{4,}")
_NAN = re.compile(r"\bnan\b")
_ACCURACY = re.compile(rf"estimated scf accuracy\s+<\s*({_NUMBER})")
_ENERGY = re.compile(rf"^(!!?)?\s*total energy\s*=\s*({_NUMBER})\s*Ry")
_MOMENT = re.compile(rf"(total|absolute) magnetization\s*=\s*((?:{_NUMBER}\s+){{1,3}})")
_BETA = re.compile(rf"iteration #\s*\d+.*beta=\s*({_NUMBER})")
_ACHIEVED = re.compile(r"convergence has been achieved in\s+(\d+)")
_NOT_ACHIEVED = re.compile(r"convergence NOT achieved(?: after\s+(\d+)|, stopping)", re.IGNORECASE)
_BANDS = re.compile(r"c_bands:\s*(\d+) eigenvalues not converged")
_AXIS = re.compile(rf"a\([123]\) = \(\s*({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})")
_ALAT = re.compile(rf"lattice parameter \(a(?:lat|_0)\)\s*=\s*({_NUMBER})")
_THRESHOLD = re.compile(rf"convergence threshold\s*=\s*({_NUMBER})")
_ATOMS = re.compile(r"number of atoms/cell\s*=\s*(\d+)")
_NEGATIVE = re.compile(rf"negative rho \(up, down\):\s*({_NUMBER})\s+({_NUMBER})")
# The times at the end: all that programs before version 5 (and some since) end with.
_CLOCK = re.compile(r"^\s+(davcio|fft_?\w*|cft3\w*|read_\w+|compbs\w*)\s*:\s+.*CPU")
_TAG = (
    # words whose mere presence says something
    ("job_done", "JOB DONE."),
    ("job_done", "END JOB "),  # xspectra.x
    ("job_done", "End of All-electron run"),  # ld1.x, as the next two
    ("job_done", "End of Pseudopotential Generation run"),
    ("job_done", "End of Pseudopotential Test run"),
    ("job_done", "functionality-dependent EPW.bib file"),  # epw.x
    ("walltime", "Maximum CPU time exceeded"),
    ("stopped", "Program stopped by user request"),
    ("band_end", "End of band structure calculation"),
    ("scf_end", "End of self-consistent calculation"),
    ("band_structure", "Band Structure Calculation"),
    ("bfgs", "BFGS Geometry Optimization"),
    ("bfgs_end", "End of BFGS Geometry Optimization"),
    ("bfgs_converged", "bfgs converged in"),
    ("bfgs_failed", "bfgs failed after"),
    ("bfgs_reset", "history already reset at previous step: stopping"),
    ("final_coordinates", "Begin final coordinates"),
    ("final_scf", "Final scf calculation at the relaxed structure"),
    ("most_steps", "The maximum number of steps has been reached"),
    ("damped_converged", "Damped Dynamics: convergence achieved"),
    ("damped", "Damped Dynamics Calculation"),
    ("wentzcovitch_end", "convergence achieved, Efinal"),
    ("fire_converged", "FIRE: convergence achieved"),
    ("fire", "FIRE Optimization"),
    ("md", "Molecular Dynamics Calculation"),
    ("langevin", "Langevin Dynamics Calculation"),
    ("md_end", "End of molecular dynamics calculation"),
    ("nstep", "nstep  "),
    ("smeared", "smearing, width (Ry)"),
    ("spins", "Starting magnetic structure"),
    ("no_response", "No convergence has been achieved"),
    ("response_achieved", "Convergence has been achieved"),
    ("path_converged", "neb: convergence achieved in"),
    ("path_stopped", "neb: reached the maximum number of steps"),
    ("path_steps", "maximum number of iterations reached"),
    ("radial_fft", "Not enough space allocated for radial FFT"),
    ("dry_run", "nstep = 0"),
)
_WORDS = tuple((name, word.lower()) for name, word in _TAG)


@dataclass
class RunText:
    """What the last run told of in a text says about itself."""

    text: str
    program: str | None = None
    version: str | None = None
    said: set[str] = field(default_factory=set)
    where: dict[str, int] = field(default_factory=dict)
    scfs: list[SCF] = field(default_factory=list)
    final_energies: list[float] = field(default_factory=list)
    not_a_number: str | None = None
    most_negative_density: float = 0.0
    setting: Setting = field(default_factory=Setting)
    last_line: str = ""

    @property
    def came_to_its_end(self) -> bool:
        """Say whether the program says that it is done."""
        if "job_done" in self.said:
            return True
        old = (self.version or "9").lstrip("v")[:2] in {"2.", "3.", "4."}
        return "clocks" in self.said and (old or self.program not in {"PWSCF", "CP", None})

    @property
    def scf(self) -> SCF | None:
        """Return the last SCF, or None where there was none."""
        return self.scfs[-1] if self.scfs else None


def read_text(path: Path) -> str:
    """Return a file as text, whatever is in it: head and tail only where it is huge.

    Raises OSError. UTF-16 (as a shell of Windows writes) is recognised by its mark; NULs,
    which a crashed file system leaves, are dropped; what is no UTF-8 is taken for Latin-1
    where it does not decode.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if size <= _HEAD_BYTES + _TAIL_BYTES:
            data = stream.read(_HEAD_BYTES + _TAIL_BYTES)
        else:
            head = stream.read(_HEAD_BYTES)
            stream.seek(size - _TAIL_BYTES)
            data = head + b"\n" + stream.read(_TAIL_BYTES)
    return decoded(data)


def decoded(data: bytes) -> str:
    """Return bytes of an output as text; see `read_text`."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", errors="replace")
    else:
        text = data.decode("utf-8", errors="replace")
        if "\ufffd" in text:
            text = data.decode("latin-1")
    return text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")


def read_run(text: str) -> RunText:
    """Read the last run in `text`: an output may hold several, appended to each other."""
    start, program, version = _last_header(text)
    run = RunText(text[start:], program, version)
    reader = _Reader(run)
    offset = 0
    for line in run.text.split("\n"):
        reader.take(line[:_LONGEST_LINE], offset)
        offset += len(line) + 1
    reader.finish()
    return run


def _last_header(text: str) -> tuple[int, str | None, str | None]:
    """Return where the last run begins. What stands before the first is read with it.

    The lines of a first run's launcher and of its standard error may come before its header,
    as they are not buffered.
    """
    found: list[tuple[int, str, str]] = []
    position = 0
    for line in text.split("\n"):
        if "starts" in line and (match := _PROGRAM.match(line[:300])):
            found.append((position, match[1].strip(), match[2]))
        position += len(line) + 1
    if not found:
        return 0, None, None
    start, program, version = found[-1]
    return (start if len(found) > 1 else 0), program, version


class _Reader:
    """Takes the lines of a run one after the other."""

    def __init__(self, run: RunText) -> None:
        self.run = run
        self._axes: list[float] = []
        self._alat: float | None = None
        self._atoms = 1
        self._threshold: float | None = None
        self._closed = True
        self._rules: tuple[tuple[str, Callable[[str], None]], ...] = (
            ("estimated scf accuracy", self._accuracy),
            ("total energy", self._energy),
            ("magnetization", self._moment),
            ("iteration #", self._iteration),
            ("convergence has been achieved in", self._achieved),
            ("convergence not achieved", self._missed),
            ("c_bands:", self._bands),
            ("self-consistent calculation", self._begin),
            ("a(", self._axis),
            ("lattice parameter (a", self._lattice),
            ("convergence threshold", self._limit),
            ("number of atoms/cell", self._number),
            ("negative rho", self._negative),
        )

    def take(self, line: str, offset: int) -> None:
        """Read one line that begins at `offset` of the run's text."""
        stripped = line.strip()
        if not stripped:
            return
        self.run.last_line = stripped[:200]
        lower = stripped.lower()
        for name, word in _WORDS:
            if word in lower:
                self.run.said.add(name)
                self.run.where[name] = offset
        for word, rule in self._rules:
            if word in lower:
                rule(line)
        if "cpu" in lower and _CLOCK.match(line):
            self.run.said.add("clocks")
        if _may_hold_nan(lower):
            self._look_for_nan(line)

    def finish(self) -> None:
        """Note what belongs to the run as a whole."""
        edge = None
        if self._alat and self._axes:
            edge = max(self._axes[-3:]) * self._alat * BOHR_A
        self.run.setting = Setting(
            edge if edge is not None and math.isfinite(edge) else None,
            "smeared" in self.run.said,
            max(self._atoms, 1),
            self._threshold,
        )
        if "path" in (self.run.program or "").lower():
            self.run.program = "NEB"

    def _scf(self) -> SCF:
        if self._closed or not self.run.scfs:
            self.run.scfs.append(SCF())
            self._closed = False
        return self.run.scfs[-1]

    def _begin(self, line: str) -> None:
        if "End of" not in line:
            self._closed = True

    def _accuracy(self, line: str) -> None:
        if match := _ACCURACY.search(line):
            self._scf().accuracy.append(_float(match[1]))

    def _energy(self, line: str) -> None:
        if match := _ENERGY.match(line):
            value = _float(match[2])
            self._scf().energies.append(value)
            if match[1]:
                self.run.final_energies.append(value)

    def _moment(self, line: str) -> None:
        if match := _MOMENT.search(line):
            parts = [_float(word) for word in match[2].split()]
            size = parts[0] if len(parts) == 1 else math.hypot(*parts)
            scf = self._scf()
            (scf.total_moment if match[1] == "total" else scf.absolute_moment).append(size)

    def _iteration(self, line: str) -> None:
        if match := _BETA.search(line):
            scf = self._scf()
            if scf.converged is not None:
                self._closed = True
                scf = self._scf()
            scf.betas.append(_float(match[1]))

    def _achieved(self, line: str) -> None:
        if match := _ACHIEVED.search(line):
            scf = self._scf()
            scf.converged, scf.steps_said = True, int(match[1][:9])

    def _missed(self, line: str) -> None:
        if match := _NOT_ACHIEVED.search(line):
            scf = self._scf()
            scf.converged = False
            scf.steps_said = int(match[1][:9]) if match[1] else None

    def _bands(self, line: str) -> None:
        if match := _BANDS.search(line):
            self._scf_now().unconverged_bands.append(int(match[1][:9]))

    def _scf_now(self) -> SCF:
        return self.run.scfs[-1] if self.run.scfs else self._scf()

    def _axis(self, line: str) -> None:
        if match := _AXIS.search(line):
            self._axes.append(math.hypot(*(_float(x) for x in match.groups())))

    def _lattice(self, line: str) -> None:
        if match := _ALAT.search(line):
            self._alat = _float(match[1])

    def _limit(self, line: str) -> None:
        if match := _THRESHOLD.search(line):
            self._threshold = _float(match[1])

    def _number(self, line: str) -> None:
        if match := _ATOMS.search(line):
            self._atoms = int(match[1][:7])

    def _negative(self, line: str) -> None:
        if match := _NEGATIVE.search(line):
            worst = max(_float(match[1]), _float(match[2]))
            self.run.most_negative_density = max(self.run.most_negative_density, worst)

    def _look_for_nan(self, line: str) -> None:
        if self.run.not_a_number is None and _NOT_A_NUMBER.search(line):
            self.run.not_a_number = " ".join(line.split())[:200]


def _may_hold_nan(lower: str) -> bool:
    if any(word in lower for word in ("total energy", "scf accuracy", "force")):
        return "=" in lower or "<" in lower
    said = any(word in lower for word in ("fermi", "p=", "magnetization"))
    return said and _NAN.search(lower) is not None


def _float(text: str) -> float:
    try:
        return float(text.replace("d", "e").replace("D", "e"))
    except (ValueError, OverflowError):
        return math.nan
