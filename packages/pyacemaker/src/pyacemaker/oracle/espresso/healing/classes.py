"""The classes of failure: their names, what each means, and what is done about it.

One row for each; `docs/healing.md` shows the same table, and a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class FailureClass:
    """A kind of failure. `family` groups kinds that a script may want to treat alike."""

    name: str
    family: str
    meaning: str
    remedy: str


_ROWS: tuple[tuple[str, str, str, str], ...] = (
    (
        "scf_not_converged",
        "scf",
        "The SCF did not converge, and too few steps are told to say why.",
        "more steps, from the density it had",
    ),
    (
        "scf_not_converged_slow",
        "scf",
        "The SCF was still converging when its steps were used up.",
        "more steps, from the density it had; more mixing where there was little",
    ),
    (
        "scf_not_converged_oscillating",
        "scf",
        "The accuracy went up and down, or up, without getting anywhere.",
        "less mixing (mixing_beta), with a longer memory",
    ),
    (
        "scf_not_converged_sloshing",
        "scf",
        "As above in a long metallic cell or slab: charge slops from end to end.",
        "mixing screened by the local density (mixing_mode local-TF), less of it",
    ),
    (
        "scf_not_converged_magnetic",
        "scf",
        "The magnetisation did not settle: it flipped or kept changing.",
        "less mixing; then wider smearing, and back to the standard one from that density",
    ),
    (
        "scf_not_converged_stagnant",
        "scf",
        "The accuracy stays at a low level, as if eigenvalues were not accurate enough.",
        "a more accurate diagonalisation",
    ),
    (
        "too_many_bands_not_converged",
        "diagonalization",
        "The diagonalisation gave up on too many bands.",
        "another diagonalisation (cg, then paro; david after cg)",
    ),
    (
        "eigenvectors_not_converged",
        "diagonalization",
        "LAPACK's eigenvectors failed to converge.",
        "another diagonalisation (cg, then paro; david after cg)",
    ),
    (
        "cholesky_failed",
        "diagonalization",
        "The Cholesky factor of the overlap could not be computed.",
        "another diagonalisation (cg, then paro; david after cg)",
    ),
    (
        "s_matrix_not_positive_definite",
        "diagonalization",
        "The overlap matrix S is not positive definite.",
        "another diagonalisation (cg, then paro; david after cg)",
    ),
    (
        "diagonalization_failed",
        "diagonalization",
        "Another step of the diagonalisation failed (zhegvd, QR, ZHEEV, orthogonalisation).",
        "another diagonalisation (cg, then paro; david after cg)",
    ),
    (
        "broyden_failed",
        "scf",
        "The mixing matrix could not be inverted (broyden: factorization).",
        "less mixing with a shorter memory, from the start",
    ),
    (
        "too_few_bands",
        "occupations",
        "Fewer bands than the electrons need (nbnd).",
        "nbnd left to the program, or a fifth more",
    ),
    (
        "too_few_plane_waves",
        "occupations",
        "More bands than plane waves: the cutoff is far too low or nbnd far too high.",
        "nbnd left to the program; then set aside: a cutoff is physics",
    ),
    (
        "smearing_missing",
        "occupations",
        "Fixed occupations where the material needs smeared ones (a metal, odd electrons, spins).",
        "smearing; where the standard settings have none, the structure is set aside",
    ),
    (
        "fermi_energy_not_found",
        "occupations",
        "The Fermi energy could not be bracketed.",
        "more bands, from the start",
    ),
    (
        "charge_is_wrong",
        "scf",
        "The integrated charge is not the number of electrons.",
        "random waves, another diagonalisation and less mixing, from the start",
    ),
    (
        "dexx_negative",
        "scf",
        "The estimated error of the exchange of a hybrid functional is negative.",
        "more accurate diagonalisation; then set aside",
    ),
    (
        "out_of_memory",
        "memory",
        "Memory could not be had, or the system killed the program for want of it.",
        "smaller work spaces (david ndim 2, mixing_ndim 4), then cg",
    ),
    (
        "fft_grid",
        "fft",
        "The FFT grid given is too small, has a bad prime, or does not fit the symmetry.",
        "the grid left to the program; then without symmetry",
    ),
    (
        "cell_factor_too_small",
        "fft",
        "A variable cell shrank beyond the tables (radial FFT, cell_factor).",
        "a larger cell_factor, from the last geometry",
    ),
    (
        "walltime",
        "time",
        "The time limit came: max_seconds, the queue's or ours.",
        "goes on from the saved density",
    ),
    (
        "stopped_by_user",
        "time",
        "Somebody asked the program to stop (an EXIT file).",
        "goes on from the saved density",
    ),
    (
        "stalled",
        "time",
        "The program lived but wrote nothing for too long.",
        "once more, from the saved density where there is one",
    ),
    (
        "interrupted",
        "time",
        "The output ends in the middle, without any word of why (or is still running).",
        "once more, from the saved density where there is one",
    ),
    (
        "symmetry",
        "symmetry",
        "Symmetry operations are not satisfied, or are no group.",
        "without symmetry (nosym)",
    ),
    (
        "kpoints",
        "symmetry",
        "The k-points or tetrahedra cannot be used as given.",
        "without symmetry reduction of the mesh (nosym); smearing instead of tetrahedra is physics",
    ),
    (
        "parallel_layout",
        "parallel",
        "More processes, pools or threads than the problem can be cut into.",
        "fewer processes: without pools and the like",
    ),
    (
        "nan",
        "numbers",
        "NaN, infinity or asterisks in energies, accuracies, forces or stress.",
        "from the start with cg and little mixing; then set aside",
    ),
    (
        "negative_density",
        "numbers",
        "The charge density is negative where it must not be.",
        "set aside: a higher ecutrho is physics",
    ),
    (
        "pseudopotential_missing",
        "pseudopotential",
        "A pseudopotential file is not where the input says.",
        "linked afresh, once; then name the folder in pseudo_dir or oracle.pseudopotentials",
    ),
    (
        "pseudopotential_corrupt",
        "pseudopotential",
        "A pseudopotential file cannot be read: truncated, damaged or of another format.",
        "verified and linked afresh, once; then replace the file",
    ),
    (
        "pseudopotential_unfit",
        "pseudopotential",
        "Pseudopotentials that do not go together or with the task (functional, relativity).",
        "set aside: choose pseudopotentials that fit",
    ),
    (
        "atoms_overlap",
        "structure",
        "Two atoms lie at the same place or far too close.",
        "set aside: the structure is at fault",
    ),
    (
        "bad_cell",
        "structure",
        "The cell is singular, left-handed, missing or contradicts its lattice type.",
        "set aside: the structure is at fault",
    ),
    (
        "species_mismatch",
        "input",
        "Numbers or names of atoms and species in the input do not agree (nat, ntyp).",
        "set aside: correct nat, ntyp, ATOMIC_SPECIES and ATOMIC_POSITIONS",
    ),
    (
        "input_error",
        "input",
        "The input cannot be read or contradicts itself.",
        "set aside: correct the line that is named",
    ),
    (
        "input_missing",
        "input",
        "There was no input file, or it was empty.",
        "set aside: name the input with -i",
    ),
    (
        "not_implemented",
        "input",
        "The program cannot do what is asked.",
        "set aside: ask for something else, or use a newer version",
    ),
    (
        "restart_files_missing",
        "files",
        "Densities, waves or data of an earlier run are missing, damaged or of another run.",
        "from the start, without the saved files",
    ),
    (
        "file_error",
        "files",
        "A file or folder cannot be opened, read or written.",
        "in a fresh folder, once",
    ),
    (
        "disk_full",
        "files",
        "The disk, a quota or a limit on file size is used up.",
        "kept scratch is cleared, and once more with less written",
    ),
    (
        "xml_truncated",
        "files",
        "The text tells a good run, but the XML beside it is cut short or damaged.",
        "once more, from the saved density where there is one",
    ),
    (
        "inconsistent_output",
        "files",
        "Text and XML tell different results or another structure.",
        "once more, in a fresh folder",
    ),
    (
        "killed",
        "signal",
        "Killed by SIGKILL (often for want of memory).",
        "once more, with smaller work spaces",
    ),
    (
        "terminated",
        "signal",
        "Ended from outside by SIGTERM, SIGINT or SIGHUP.",
        "once more, from the saved density where there is one",
    ),
    (
        "segmentation_fault",
        "signal",
        "Crashed with SIGSEGV or SIGBUS (often a stack that is too small).",
        "once more, with cg",
    ),
    (
        "floating_point_exception",
        "signal",
        "Crashed with SIGFPE.",
        "from the start with cg and little mixing",
    ),
    (
        "aborted",
        "signal",
        "Crashed with SIGABRT or another signal.",
        "once more",
    ),
    (
        "illegal_instruction",
        "signal",
        "The program was compiled for another processor.",
        "set aside: use a program made for this machine",
    ),
    (
        "mpi_failure",
        "parallel",
        "MPI, its launcher or a node failed.",
        "once more",
    ),
    (
        "fortran_runtime_error",
        "program",
        "The Fortran or C run-time stopped the program.",
        "once more, in a fresh folder",
    ),
    (
        "program_missing",
        "program",
        "The program or a library of it could not be started.",
        "set aside: correct oracle.command",
    ),
    (
        "internal_error",
        "program",
        "A check inside the program failed that is no fault of the input we know of.",
        "once more, with cg and without symmetry",
    ),
    (
        "relax_not_converged",
        "relax",
        "The relaxation used up its steps (nstep), or did not reach its thresholds.",
        "more steps, from the last geometry",
    ),
    (
        "bfgs_failed",
        "relax",
        "The BFGS minimiser lost its way.",
        "from the last geometry with a smaller trust radius",
    ),
    (
        "phonon_not_converged",
        "phonon",
        "Linear response (ph.x) did not converge.",
        "less mixing (alpha_mix), with recover",
    ),
    (
        "path_not_converged",
        "path",
        "A path (neb.x) used up its steps or an image failed.",
        "more steps, with restart",
    ),
    (
        "no_output",
        "files",
        "There is no output, or it is empty.",
        "once more",
    ),
    (
        "not_an_output",
        "files",
        "The file is no output of Quantum ESPRESSO.",
        "name another file",
    ),
    (
        UNKNOWN,
        UNKNOWN,
        "A failure of no known kind.",
        "once more; then set aside with its last lines",
    ),
)

CLASSES: dict[str, FailureClass] = {row[0]: FailureClass(*row) for row in _ROWS}
