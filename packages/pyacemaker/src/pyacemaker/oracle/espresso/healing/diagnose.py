"""A run of Quantum ESPRESSO put into a class of failure. Total: no text makes it fail."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable
from pathlib import Path

from pyacemaker.oracle.espresso.healing.classes import OK, UNKNOWN
from pyacemaker.oracle.espresso.healing.diagnosis import Diagnosis
from pyacemaker.oracle.espresso.healing.error_blocks import ErrorBlock, error_blocks
from pyacemaker.oracle.espresso.healing.evidence import Ending, Evidence, gather
from pyacemaker.oracle.espresso.healing.history import why_not_converged
from pyacemaker.oracle.espresso.healing.messages import class_of_block
from pyacemaker.oracle.espresso.healing.run_text import RunText, read_run
from pyacemaker.oracle.espresso.healing.system_lines import class_of_line

_SIGNALS = {
    signal.SIGKILL: "killed",
    signal.SIGTERM: "terminated",
    signal.SIGINT: "terminated",
    signal.SIGHUP: "terminated",
    signal.SIGSEGV: "segmentation_fault",
    signal.SIGBUS: "segmentation_fault",
    signal.SIGFPE: "floating_point_exception",
    signal.SIGILL: "illegal_instruction",
    signal.SIGXFSZ: "disk_full",
    signal.SIGXCPU: "walltime",
}
_STOPPED = {
    "timeout": "walltime", "stalled": "stalled", "disk": "disk_full", "memory": "out_of_memory",
}  # fmt: skip
_SPECIFIC_FIRST = (
    "disk_full",
    "out_of_memory",
    "walltime",
    "program_missing",
    "illegal_instruction",
    "floating_point_exception",
    "segmentation_fault",
    "killed",
    "terminated",
    "fortran_runtime_error",
    "mpi_failure",
    "aborted",
)
_PLAIN_SIGNS = (
    # messages that outlive their error block, in text that was cut out of an output
    ("problems computing cholesky", "cholesky_failed"),
    ("s matrix not positive definite", "s_matrix_not_positive_definite"),
    ("too many bands are not converged", "too_many_bands_not_converged"),
    ("eigenvectors failed to converge", "eigenvectors_not_converged"),
    ("[q, r] = qr(x, 0) failed", "diagonalization_failed"),
    ("zhegvd failed", "diagonalization_failed"),
    ("g_par is not a reciprocal lattice vector", "kpoints"),
    ("not enough space allocated for radial fft", "cell_factor_too_small"),
    ("some nodes have no k-points", "parallel_layout"),
    ("charge is wrong", "charge_is_wrong"),
    ("dexx is negative", "dexx_negative"),
    ("not orthogonal operation", "symmetry"),
)
_NAMELIST = re.compile(r"(?im)^\s*&(control|system|electrons|inputph|path|inputpp)\b")


def diagnose_path(path: Path) -> tuple[Diagnosis, Path | None]:
    """Return the diagnosis of an output file or a folder, and the file it was made from.

    Raises FileNotFoundError for a path that is not there, OSError for one that cannot be read.
    """
    evidence = gather(path)
    return diagnose(evidence), evidence.path


def diagnose(evidence: Evidence) -> Diagnosis:
    """Return the diagnosis of `evidence`."""
    run = read_run(evidence.output)
    name, why = _decide(evidence, run)
    scf = run.scf
    return Diagnosis(
        name=name,
        evidence=" ".join(why.split())[:400],
        program=run.program,
        version=run.version,
        calculation=_calculation(run, evidence.input),
        converged=None if scf is None else bool(scf.converged),
        scf_steps=None if scf is None else (scf.steps_said or len(scf.accuracy) or None),
        energy_Ry=next((e for e in reversed(run.final_energies) if math.isfinite(e)), None),
        notes=tuple(_notes(evidence, run, name)),
    )


Verdict = tuple[str, str]


def _decide(evidence: Evidence, run: RunText) -> Verdict:
    finished = run.came_to_its_end
    steps: tuple[Callable[[], Verdict | None], ...] = (
        lambda: _of_error_blocks(evidence, run, finished),
        lambda: _of_images(evidence),
        lambda: _of_ours(evidence.ending, finished),
        lambda: _of_plain_signs(evidence, run, finished),
        lambda: _of_stops(run),
        lambda: _of_numbers(run),
        lambda: _of_scf(run),
        lambda: None if finished else _of_the_system(evidence, run),
        lambda: None if finished else _of_what_is_there(evidence, run),
        lambda: _of_ionic_motion(run, evidence.input),
        lambda: _of_response_and_path(run),
        lambda: _of_disk(evidence),
        lambda: _of_xml(evidence),
    )
    for step in steps:
        if (verdict := step()) is not None:
            return verdict
    return OK, _good_word(run)


def _of_error_blocks(evidence: Evidence, run: RunText, finished: bool) -> Verdict | None:
    blocks = error_blocks(run.text)
    if not finished:  # a CRASH beside a run that ended well is of another run
        blocks += [block for block in error_blocks(evidence.crash) if block not in blocks]
        blocks += [block for block in error_blocks(evidence.errors) if block not in blocks]
    named = [(class_of_block(block), block) for block in blocks]
    for name, block in named:
        if name != UNKNOWN:
            return _refined(name, block, run), block.line
    return (UNKNOWN, named[0][1].line) if named else None


def _of_images(evidence: Evidence) -> Verdict | None:
    """Return what failed in an image of a path, whose own output ends as if all was well."""
    for number, text in enumerate(evidence.images, start=1):
        image = read_run(text)
        verdict = _of_error_blocks(Evidence(text), image, True)
        verdict = verdict or _of_plain_signs(Evidence(text), image, False) or _of_scf(image)
        if verdict is not None:
            return verdict[0], f"image {number}: {verdict[1]}"
    return None


def _refined(name: str, block: ErrorBlock, run: RunText) -> str:
    """Return the class with what the run before the error tells: why an SCF went wrong."""
    if name == "scf_not_converged" and run.scf is not None:
        return why_not_converged(run.scf, run.setting)[0]
    if name == "internal_error" and block.routine.startswith("invmat") and not run.scfs:
        return "bad_cell"  # the first matrix that is inverted is the cell
    return name


def _of_ours(ending: Ending | None, finished: bool) -> Verdict | None:
    if ending is None or finished or ending.stopped not in _STOPPED:
        return None
    after = f" after {ending.wall_s:.0f} s" if ending.wall_s is not None else ""
    words = {
        "timeout": f"stopped after its time limit{after}",
        "stalled": f"stopped{after}: its output did not grow",
        "disk": f"stopped{after}: it used more disk than allowed",
        "memory": f"stopped{after}: it used more memory than allowed",
    }
    return _STOPPED[ending.stopped], words[ending.stopped]


def _of_plain_signs(evidence: Evidence, run: RunText, finished: bool) -> Verdict | None:
    if finished:
        return None
    for text in (run.text[-20_000:], evidence.crash[-20_000:]):
        for line in text.split("\n"):
            plain = " ".join(line.lower().split())
            for sign, name in _PLAIN_SIGNS:
                if sign in plain:
                    return name, line
    return None


def _of_stops(run: RunText) -> Verdict | None:
    if "walltime" in run.said and not _later(run, "walltime"):
        return "walltime", "Maximum CPU time exceeded"
    if "stopped" in run.said and not _later(run, "stopped"):
        return "stopped_by_user", "Program stopped by user request"
    return None


def _later(run: RunText, name: str) -> bool:
    """Say whether the run converged after it was to stop: it stops at the end of a step."""
    return run.where.get("scf_end", -1) > run.where[name] and "bfgs" not in run.said


def _of_numbers(run: RunText) -> Verdict | None:
    return None if run.not_a_number is None else ("nan", run.not_a_number)


def _of_scf(run: RunText) -> Verdict | None:
    scf = run.scf
    if scf is None or scf.converged is not False:
        return None
    name, why = why_not_converged(scf, run.setting)
    after = f" in {scf.steps_said} steps" if scf.steps_said else ""
    stage = " (final SCF of a relaxation)" if "final_scf" in run.said else ""
    return name, f"the SCF did not converge{after}{stage}: {why}"


def _of_the_system(evidence: Evidence, run: RunText) -> Verdict | None:
    found: dict[str, str] = {}
    texts = [run.text[:20_000], run.text[-60_000:], evidence.errors[-60_000:], evidence.crash]
    for text in texts:
        for line in text.split("\n"):
            name = class_of_line(line)
            if name is not None:
                found.setdefault(name, line)
    code = evidence.ending.returncode if evidence.ending else None
    if code is not None and code < 0:
        name = _SIGNALS.get(-code, "aborted")  # type: ignore[call-overload]
        found.setdefault(name, f"killed by {_signal_name(-code)}")
    elif code in {126, 127}:
        found.setdefault("program_missing", f"exit status {code}: the program was not started")
    for name in _SPECIFIC_FIRST:
        if name in found:
            if name == "fortran_runtime_error":
                return _what_was_read(texts, run), found[name]
            return name, found[name]
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _what_was_read(texts: list[str], run: RunText) -> str:
    """Return the class of a run-time error: of the file that was read when it came."""
    if run.scfs:
        return "fortran_runtime_error"
    said = "\n".join(texts).lower()
    if re.search(r"xmltools|upf|read_ps|pseudo_?types|read_ncpp|read_uspp", said):
        return "pseudopotential_corrupt"
    if re.search(r"read_?(cards|namel|input)|namelist|parser\.f90|unit = 5|unit 5\b", said):
        return "input_error"
    return "fortran_runtime_error"


def _of_what_is_there(evidence: Evidence, run: RunText) -> Verdict | None:
    text = run.text
    if not text.strip():
        code = evidence.ending.returncode if evidence.ending else None
        status = f" (exit status {code})" if code is not None else ""
        if "No such file" in evidence.errors:
            return "file_error", evidence.errors[-300:]
        return "no_output", f"there is no output, or it is empty{status}"
    lower = text.lower()
    if run.program is None and not run.scfs:
        if "waiting for input" in lower:
            return "input_missing", run.last_line
        if not _looks_like_output(lower):
            return "not_an_output", f"its last line: {run.last_line}"
    if "waiting for input" in lower and not run.scfs and "reading input from" not in lower:
        return "input_missing", "Waiting for input..."
    code = evidence.ending.returncode if evidence.ending else None
    if code:
        return UNKNOWN, f"exit status {code}; its last line: {run.last_line}"
    return "interrupted", f"it did not come to its end; its last line: {run.last_line}"


def _looks_like_output(lower: str) -> bool:
    signs = (
        "bravais-lattice", "kinetic-energy cutoff", "estimated scf accuracy",
        "total cpu time spent",
        "quantum espresso", "pwscf", "total energy", "k points=", "atomic species", "jobs done",
    )  # fmt: skip
    if _NAMELIST.search(lower) and "total cpu time spent" not in lower:
        return False
    return sum(sign in lower for sign in signs) >= 2


def _of_ionic_motion(run: RunText, given: str) -> Verdict | None:
    said = run.said
    if "bfgs_failed" in said:
        return "bfgs_failed", "bfgs failed after some steps"
    if "bfgs_reset" in said:
        return "bfgs_failed", "history already reset at previous step: stopping"
    calculation = _calculation(run, given)
    if calculation in {"md", "vc-md"}:
        return None
    if "most_steps" in said and calculation in {"relax", "vc-relax", None}:
        return "relax_not_converged", "The maximum number of steps has been reached"
    ended = {"bfgs_converged", "bfgs_end", "damped_converged", "fire_converged",
             "final_coordinates", "wentzcovitch_end"}  # fmt: skip
    moving = bool(said & {"bfgs", "damped", "fire"})
    if moving and not said & ended:
        return "relax_not_converged", f"no convergence of the relaxation; last: {run.last_line}"
    return None


def _of_response_and_path(run: RunText) -> Verdict | None:
    said, program = run.said, (run.program or "").upper()
    if "no_response" in said and program.startswith(("PHONON", "PH", "TURBO", "HP")):
        return "phonon_not_converged", "No convergence has been achieved"
    if "path_stopped" in said or (program.startswith("NEB") and "path_steps" in said):
        return "path_not_converged", "neb: reached the maximum number of steps"
    return None


def _of_disk(evidence: Evidence) -> Verdict | None:
    for text in (evidence.output[-60_000:], evidence.errors[-60_000:]):
        for line in text.split("\n"):
            if class_of_line(line) == "disk_full":
                return "disk_full", line
    return None


def _of_xml(evidence: Evidence) -> Verdict | None:
    return ("xml_truncated", evidence.xml) if evidence.xml else None


def _calculation(run: RunText, given: str) -> str | None:
    """Return scf, nscf, relax, vc-relax or md, from the input where there is one."""
    if match := re.search(r"(?im)^[^!\n]*\bcalculation\s*=\s*['\"]([\w-]+)['\"]", given):
        return match[1].lower()
    said = run.said
    if said & {"md", "langevin", "md_end"}:
        return "md"
    if said & {"bfgs", "damped", "fire", "bfgs_end"}:
        return "vc-relax" if "final_scf" in said or "new unit-cell" in run.text else "relax"
    if said & {"band_structure", "band_end"}:
        return "nscf"
    return "scf" if run.scfs else None


def _good_word(run: RunText) -> str:
    scf = run.scf
    if "bfgs_end" in run.said or "bfgs_converged" in run.said:
        return "JOB DONE; the relaxation converged"
    if scf is not None and scf.converged:
        return f"JOB DONE; the SCF converged in {scf.steps_said} steps"
    return "JOB DONE"


def _notes(evidence: Evidence, run: RunText, name: str) -> list[str]:
    notes = []
    scf = run.scf
    if scf is not None and scf.unconverged_bands and name == OK:
        notes.append(f"c_bands: {scf.unconverged_bands[-1]} eigenvalues not converged on the way")
    if run.most_negative_density > 0.1:
        notes.append(f"negative density, {run.most_negative_density:.2g} electrons")
    if name == OK and evidence.path is not None and evidence.xml is None:
        notes.append("no XML beside it")
    return notes
