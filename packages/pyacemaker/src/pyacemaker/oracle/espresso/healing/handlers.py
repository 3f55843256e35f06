"""What is done about each failure: a table of handlers, tried in order of priority.

A handler is a pure function from an input (and the diagnosis of its run) to another input,
or None where it has nothing to offer. Those that change what is computed, rather than how
it is found, say so (`physics`): a run with one is only a step on the way, and what it
changed is put back (`restores`) for a last run that starts from its density.

The values are those that custodian and aiida-quantumespresso's PwBaseWorkChain made good
use of, and those the manual of pw.x suggests (INPUT_PW, the user's guide on convergence).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from pyacemaker.oracle.espresso.healing.classes import UNKNOWN
from pyacemaker.oracle.espresso.healing.diagnosis import Diagnosis
from pyacemaker.oracle.espresso.healing.pw_input_text import PwInput


@dataclass(frozen=True)
class Job:
    """One attempt: an input, and how it is run.

    `density_from` is the number of the attempt whose saved density it starts from, `patience`
    a factor on the time limit, and `plain_command` leaves out the options for pools and the
    like. `clear_scratch` makes room on the disk first.
    """

    input: PwInput
    density_from: int | None = None
    patience: float = 1.0
    plain_command: bool = False
    clear_scratch: bool = False


@dataclass(frozen=True)
class Case:
    """A failed attempt: its job, its diagnosis, its number, and whether it saved a density."""

    job: Job
    diagnosis: Diagnosis
    number: int
    has_density: bool = False

    @property
    def restart(self) -> Job:
        """Return the job from the density this attempt saved, or the job itself."""
        if not self.has_density:
            return self.fresh
        started = self.job.input.changed("ELECTRONS", startingpot="file")
        return replace(self.job, input=started, density_from=self.number)

    @property
    def fresh(self) -> Job:
        """Return the job from the start."""
        return replace(
            self.job, input=self.job.input.without("ELECTRONS", "startingpot"), density_from=None
        )


Change = Callable[[Case], Job | None]


@dataclass(frozen=True)
class Handler:
    """One row of the table.

    `recognises` are classes of failure, `at_most` how often it may be used for one
    structure. `restores` names the keys that are put back when a run with it has converged.
    """

    name: str
    priority: int
    recognises: frozenset[str]
    change: Change
    at_most: int = 1
    physics: bool = False
    restores: tuple[str, ...] = ()


_DIAGONALISATION = (
    "too_many_bands_not_converged",
    "eigenvectors_not_converged",
    "cholesky_failed",
    "s_matrix_not_positive_definite",
    "diagonalization_failed",
)
_SCF_STUCK = (
    "scf_not_converged_oscillating",
    "scf_not_converged_sloshing",
    "scf_not_converged_magnetic",
)
_TRANSIENT = (
    "interrupted",
    "stalled",
    "terminated",
    "killed",
    "aborted",
    "mpi_failure",
    "segmentation_fault",
    "xml_truncated",
    "inconsistent_output",
    "fortran_runtime_error",
    "file_error",
    "no_output",
    "pseudopotential_missing",
    "pseudopotential_corrupt",
    "pseudopotential_unfit",
    UNKNOWN,
)
_MOST_STEPS = 500
_GRID = ("nr1", "nr2", "nr3", "nr1s", "nr2s", "nr3s")


def _electrons(job: Job, **values: str | int | float | bool) -> Job:
    return replace(job, input=job.input.changed("ELECTRONS", **values))


def _steps(job: Job, factor: float) -> int:
    steps = int(job.input.number("ELECTRONS", "electron_maxstep", 100) * factor)
    return max(30, min(steps, _MOST_STEPS))


def _beta(job: Job) -> float:
    return job.input.number("ELECTRONS", "mixing_beta", 0.7)


def _ndim(job: Job) -> int:
    return int(job.input.number("ELECTRONS", "mixing_ndim", 8))


def _more_steps(case: Case) -> Job | None:
    job = case.restart
    steps = _steps(job, 3)
    if steps <= job.input.number("ELECTRONS", "electron_maxstep", 100):
        return None
    beta = _beta(job)
    if beta < 0.2:  # so little mixing that this alone is slow
        job = _electrons(job, mixing_beta=min(4 * beta, 0.3), mixing_ndim=max(8, _ndim(job)))
    return _electrons(job, electron_maxstep=steps)


def _gentler(factor: float, mode: str | None, least: float) -> Change:
    def change(case: Case) -> Job | None:
        job = case.fresh  # the density of a run that diverged is worse than none
        beta = max(min(_beta(job), 0.7) * factor, least)
        values: dict[str, str | int | float | bool] = {
            "mixing_beta": round(beta, 4),
            "mixing_ndim": max(12, _ndim(job)),
            "electron_maxstep": _steps(job, 2),
        }
        if mode is not None:
            values["mixing_mode"] = mode
        changed = _electrons(job, **values)
        return None if changed.input == case.job.input else changed

    return change


def _wider_smearing(case: Case) -> Job | None:
    job = case.fresh
    if job.input.get("SYSTEM", "occupations") != "smearing":
        return None
    width = job.input.number("SYSTEM", "degauss", 0.01)
    wider = job.input.changed("SYSTEM", degauss=round(max(3 * width, 0.03), 6))
    return _electrons(replace(job, input=wider), electron_maxstep=_steps(job, 2))


def _smearing(case: Case) -> Job | None:
    job = case.fresh
    if job.input.get("SYSTEM", "occupations") == "smearing":
        return None
    smeared = job.input.changed("SYSTEM", occupations="smearing", smearing="mv", degauss=0.01)
    return replace(job, input=smeared)


def _diagonalization(*kinds: str) -> Change:
    def change(case: Case) -> Job | None:
        job = case.fresh
        now = str(job.input.get("ELECTRONS", "diagonalization", "david"))
        kind = next((kind for kind in kinds if kind != now), None)
        if kind is None:
            return None
        plain = job.input.without("ELECTRONS", "diago_cg_maxiter", "diago_thr_init")
        return _electrons(
            replace(job, input=plain), diagonalization=kind, startingwfc="atomic+random"
        )

    return change


def _accurate_diagonalization(case: Case) -> Job | None:
    job = case.restart
    if job.input.get("ELECTRONS", "diago_full_acc") is True:
        return None
    return _electrons(
        job, diago_thr_init=1e-8, diago_full_acc=True, electron_maxstep=_steps(job, 1.5)
    )


def _bands_left_to_the_program(case: Case) -> Job | None:
    job = case.fresh
    if job.input.get("SYSTEM", "nbnd") is None:
        return None
    return replace(job, input=job.input.without("SYSTEM", "nbnd"))


def _more_bands(case: Case) -> Job | None:
    job = case.fresh
    bands = job.input.get("SYSTEM", "nbnd")
    if not isinstance(bands, int):
        return None
    return replace(job, input=job.input.changed("SYSTEM", nbnd=bands + max(4, bands // 5)))


def _random_start(case: Case) -> Job | None:
    beta = min(_beta(case.job), 0.3)
    return _electrons(
        case.fresh, startingwfc="random", diagonalization="cg", mixing_beta=beta,
        electron_maxstep=_steps(case.job, 2),
    )  # fmt: skip


def _short_memory(case: Case) -> Job | None:
    return _electrons(
        case.fresh, mixing_ndim=4, mixing_beta=round(max(0.5 * _beta(case.job), 0.1), 4)
    )


def _small_work_spaces(case: Case) -> Job | None:
    job = case.restart
    changed = _electrons(
        job, diagonalization="david", diago_david_ndim=2, mixing_ndim=min(4, _ndim(job))
    )
    return None if changed.input == case.job.input else changed


def _conjugate_gradients(case: Case) -> Job | None:
    if case.job.input.get("ELECTRONS", "diagonalization") == "cg":
        return None
    return _electrons(case.restart, diagonalization="cg", mixing_ndim=min(4, _ndim(case.job)))


def _grid_left_to_the_program(case: Case) -> Job | None:
    job = case.fresh
    if not any(job.input.get("SYSTEM", key) is not None for key in _GRID):
        return None
    return replace(job, input=job.input.without("SYSTEM", *_GRID))


def _no_symmetry(case: Case) -> Job | None:
    job = case.fresh
    if job.input.get("SYSTEM", "nosym") is True:
        return None
    return replace(job, input=job.input.changed("SYSTEM", nosym=True))


def _larger_cell_factor(case: Case) -> Job | None:
    job = case.fresh
    factor = max(1.5 * job.input.number("CELL", "cell_factor", 2.0), 2.0)
    return replace(job, input=job.input.changed("CELL", cell_factor=factor))


def _go_on(case: Case) -> Job | None:
    return _with_more_seconds(case.restart) if case.has_density else None


def _longer(case: Case) -> Job | None:
    return replace(_with_more_seconds(case.restart), patience=2 * case.job.patience)


def _with_more_seconds(job: Job) -> Job:
    limit = job.input.get("CONTROL", "max_seconds")
    if not isinstance(limit, int | float):
        return job
    return replace(job, input=job.input.changed("CONTROL", max_seconds=float(4 * limit)))


def _again(case: Case) -> Job | None:
    return case.restart


def _afresh(case: Case) -> Job | None:
    return case.fresh


def _plain_command(case: Case) -> Job | None:
    return None if case.job.plain_command else replace(case.fresh, plain_command=True)


def _less_on_disk(case: Case) -> Job | None:
    job = case.fresh
    lean = job.input.changed("CONTROL", disk_io="nowf")
    return replace(job, input=lean, clear_scratch=True)


def _more_ionic_steps(case: Case) -> Job | None:
    job = case.fresh
    steps = int(job.input.number("CONTROL", "nstep", 50))
    return replace(job, input=job.input.changed("CONTROL", nstep=3 * max(steps, 20)))


def _smaller_trust_radius(case: Case) -> Job | None:
    job = case.fresh
    return replace(
        job, input=job.input.changed("IONS", trust_radius_ini=0.1, trust_radius_min=1e-5)
    )


def _rows() -> tuple[Handler, ...]:
    def row(
        priority: int,
        name: str,
        recognises: Collection[str],
        change: Change,
        at_most: int = 1,
        restores: tuple[str, ...] = (),
    ) -> Handler:
        return Handler(
            name, priority, frozenset(recognises), change, at_most, bool(restores), restores
        )

    return (
        # ---- the SCF
        row(10, "more steps, from the density it had",
            ["scf_not_converged", "scf_not_converged_slow"], _more_steps, at_most=2),
        row(11, "a more accurate diagonalisation, from the density it had",
            ["scf_not_converged_stagnant", "scf_not_converged_slow", "dexx_negative"],
            _accurate_diagonalization),
        row(20, "mixing screened by the local density (local-TF), 0.4 of it",
            ["scf_not_converged_sloshing"], _gentler(0.4, "local-TF", 0.05)),
        row(21, "gentler mixing (0.4 of it, longer memory)",
            [*_SCF_STUCK, "scf_not_converged_stagnant"], _gentler(0.4, None, 0.05)),
        row(22, "still gentler mixing, screened by the local density (local-TF)",
            [*_SCF_STUCK, "scf_not_converged_slow", "scf_not_converged"],
            _gentler(0.3, "local-TF", 0.03)),
        row(23, "hardly any mixing, unscreened", _SCF_STUCK, _gentler(0.3, "plain", 0.02)),
        row(29, "three times the smearing, and back from its density", _SCF_STUCK,
            _wider_smearing, restores=("SYSTEM.degauss",)),
        row(30, "less mixing with a shorter memory", ["broyden_failed"], _short_memory),
        row(31, "random waves, conjugate gradients and less mixing",
            ["charge_is_wrong", "nan", "floating_point_exception", "fermi_energy_not_found",
             "broyden_failed"], _random_start),
        # ---- diagonalisation
        row(40, "conjugate gradients instead of Davidson (or the reverse)", _DIAGONALISATION,
            _diagonalization("cg", "david")),
        row(41, "the parallel orbital solver (paro)", _DIAGONALISATION, _diagonalization("paro")),
        row(42, "Davidson, from random waves", _DIAGONALISATION, _diagonalization("david")),
        row(43, "the number of bands left to the program",
            ["too_few_bands", "too_few_plane_waves", *_DIAGONALISATION],
            _bands_left_to_the_program),
        row(44, "a fifth more bands", ["too_few_bands", "fermi_energy_not_found"], _more_bands),
        # ---- occupations
        row(50, "smeared occupations, and back from their density",
            ["smearing_missing", "charge_is_wrong"], _smearing,
            restores=("SYSTEM.occupations", "SYSTEM.smearing", "SYSTEM.degauss")),
        # ---- memory, grids, symmetry, processes
        row(60, "smaller work spaces (david_ndim 2, mixing_ndim 4)",
            ["out_of_memory", "killed"], _small_work_spaces),
        row(61, "conjugate gradients, which need least memory",
            ["out_of_memory", "segmentation_fault", "internal_error"], _conjugate_gradients),
        row(62, "the FFT grid left to the program", ["fft_grid", "symmetry", "internal_error"],
            _grid_left_to_the_program),
        row(63, "without symmetry (nosym)", ["symmetry", "kpoints", "fft_grid", "internal_error"],
            _no_symmetry),
        row(64, "a larger cell_factor", ["cell_factor_too_small"], _larger_cell_factor, at_most=2),
        row(65, "fewer processes: without pools and the like", ["parallel_layout"],
            _plain_command),
        # ---- time, signals, files
        row(70, "going on from the saved density", ["walltime", "stopped_by_user"], _go_on,
            at_most=4),
        row(71, "once more with twice the time", ["walltime", "stalled"], _longer),
        row(72, "once more, with less on the disk", ["disk_full"], _less_on_disk),
        row(73, "from the start, without the saved files", ["restart_files_missing"], _afresh),
        row(74, "once more", [*_TRANSIENT, "stopped_by_user"], _again, at_most=2),
        row(75, "once more, without what was saved",
            [*_TRANSIENT, "out_of_memory", "floating_point_exception", "disk_full"], _afresh),
        # ---- relaxations
        row(80, "more steps of the relaxation", ["relax_not_converged"], _more_ionic_steps),
        row(81, "a smaller trust radius", ["bfgs_failed"], _smaller_trust_radius),
    )  # fmt: skip


HANDLERS: tuple[Handler, ...] = tuple(sorted(_rows(), key=lambda handler: handler.priority))
