"""What programs say when they stop, and the class of failure it means.

Three tables, each tried from top to bottom: messages of Quantum ESPRESSO's own error
blocks (``Error in routine ROUTINE (n): MESSAGE``), the routines themselves where the
message says nothing, and lines that the operating system, MPI, run-times and batch
systems leave in an output. The patterns are against lower case with single blanks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyacemaker.oracle.espresso.healing.classes import UNKNOWN

_BARS = re.compile(r"^[ \t]*%{20,}[ \t]*\r?$", re.MULTILINE)
_HEAD = re.compile(
    r"(?:error in routine|from|error:? in|error from routine)\s+(.*?)\s*"
    r"(?:\(\s*(-?\d+|\*+)\s*\))?\s*:?(?:error #\s*(-?\d+|\*+))?\s*$",
    re.IGNORECASE,
)
_OF_DIAGONALISATION = 7  # rows at the top of _MESSAGES
_MOST_BLOCKS, _LONGEST_BLOCK = 50, 4000


@dataclass(frozen=True)
class ErrorBlock:
    """An error message of the program: where it was raised and what it says."""

    routine: str
    message: str

    @property
    def line(self) -> str:
        """Return the block as one line."""
        return f"{self.routine}: {self.message}" if self.routine else self.message


def error_blocks(text: str) -> list[ErrorBlock]:
    """Return the messages between lines of per cent signs, in order, without repetition.

    Every process of a parallel run writes the same block, often into each other's lines.
    """
    pieces = _BARS.split(text)
    blocks: list[ErrorBlock] = []
    for piece in pieces[1 : 2 * _MOST_BLOCKS]:
        block = _block(piece[:_LONGEST_BLOCK])
        if block is not None and block not in blocks:
            blocks.append(block)
    return blocks


def _block(piece: str) -> ErrorBlock | None:
    lines = [line.strip(" %\t\r") for line in piece.splitlines()]
    lines = [line for line in lines if line]
    if not lines or lines[0].lower().startswith("stopping"):
        return None
    for number, line in enumerate(lines[:4]):
        if head := _HEAD.fullmatch(line):
            said = []
            for following in lines[number + 1 : number + 9]:
                if following.lower().startswith(("stopping", "task #")):
                    break
                said.append(following)
            return ErrorBlock(head[1].strip(" :"), " ".join(said)[:400])
    if len(lines) <= 8 and any("error" in line.lower() for line in lines):
        return ErrorBlock("", " ".join(lines)[:400])
    return None


Table = tuple[tuple[re.Pattern[str], str], ...]


def _table(rows: tuple[tuple[str, str], ...]) -> Table:
    return tuple((re.compile(pattern), name) for pattern, name in rows)


_MESSAGES = _table(
    (
        # ---- diagonalisation
        (r"problems? (computing|with) cholesky|cholesky|dpotrf|zpotrf", "cholesky_failed"),
        (r"s matrix not positive", "s_matrix_not_positive_definite"),
        (r"eigenvectors? failed to converge", "eigenvectors_not_converged"),
        (r"too many bands are not converged", "too_many_bands_not_converged"),
        (r"\[q, ?r\] ?= ?qr|zhegvd? failed|zhegvx|dsygv|zheev|dsyev|inverse failed", "DIAG"),
        (r"too many bands, or too few plane waves|more bands than pws", "too_few_plane_waves"),
        (r"zungqr|zgeqrf|bunch-kaufman|cannot orthonormali[sz]e|wrong sub_diag", "DIAG"),
        # ---- occupations
        (r"required ndiag", "parallel_layout"),
        (r"too few (spin (up|dw) )?bands|increase nbnd", "too_few_bands"),
        (r"charge is wrong: smearing is needed", "smearing_missing"),
        (r"(is|system is) metallic|specify occupations|smearing is needed", "smearing_missing"),
        (r"fixed occupations (and lsda|requires)|strange occupations", "smearing_missing"),
        (r"smearing requires a value", "input_error"),
        (r"charge is wrong|starting and expected charges differ", "charge_is_wrong"),
        (r"cannot bracket ef|bad fermi energy|fermi energy not found", "fermi_energy_not_found"),
        (r"dexx is negative", "dexx_negative"),
        (r"negative (rho|charge|dr2)|negative or imaginary charge", "negative_density"),
        # ---- cell, FFT, memory
        (r"fft grid", "fft_grid"),
        (r"not enough space allocated for radial fft|cell_factor", "cell_factor_too_small"),
        (r"incompatible fft grid|nr\"?s are too small|nrs\"?s are too small", "fft_grid"),
        (r"fft order|fft dimension|wrong (smooth )?nnr|wrong ngms?\b|bad fft", "fft_grid"),
        (r"can ?not allocate|allocation (failed|error)|error (de)?allocating", "out_of_memory"),
        (r"insufficient (virtual )?memory|out of memory|not enough memory", "out_of_memory"),
        # ---- parallel
        (r"nodes have no k-points|pools? with no k-points|no k-points in", "parallel_layout"),
        (r"no plane waves|no g-?vectors|too many (processors|pools|images)", "parallel_layout"),
        (r"(some|this) process(or|es)?.* has no|no\. of (task|proc)", "parallel_layout"),
        (
            r"(not divisible|must be divisible|not a divisor|number of (pools|images|processors))",
            "parallel_layout",
        ),
        (r"task groups?|with pools|npool|nproc|ndiag", "parallel_layout"),
        (r"mpi_\w+|error in mpi", "mpi_failure"),
        # ---- structure
        (
            r"overlap(ping)? atoms?|atoms? .*overlap|differ by lattice vector|ions overlap",
            "atoms_overlap",
        ),
        (r"atoms too close|distance between atoms", "atoms_overlap"),
        # ---- pseudopotentials
        (
            r"(upf|pseudo\w*|pp)( file)?.* not found|file .*upf.* not found",
            "pseudopotential_missing",
        ),
        (r"error (in )?opening (pseudo|pp)", "pseudopotential_missing"),
        (
            r"(igcx|igcc|iexch|icorr|inlc|imeta)|(conflicting|inconsistent) (values|dft)",
            "pseudopotential_unfit",
        ),
        (
            r"fully relativistic pps|need spin-orbit|spin-orbit.*(pseudo|non ?relativistic)",
            "pseudopotential_unfit",
        ),
        (
            r"(needs?|require[sd]?|only) (norm-conserving|us|uspp|paw|ultrasoft)\b",
            "pseudopotential_unfit",
        ),
        (
            r"(uspp|paw|us|ultrasoft|nc|gth|coulomb)[\w /-]*pps?\b.*incompatible",
            "pseudopotential_unfit",
        ),
        (
            r"unknown (upf|pseudo)|wrong (pseudo|pp)|pseudopotential (format|file)",
            "pseudopotential_corrupt",
        ),
        (r"inconsistent dft", "pseudopotential_unfit"),
        (r"unrecogni[sz]ed functional|dft .*not (recogni[sz]ed|found)", "pseudopotential_unfit"),
        # ---- symmetry and k-points
        (
            r"not orthogonal operation|symmetry operations? (is )?not satisfied|not a group",
            "symmetry",
        ),
        (
            r"lone vector|wrong number of sym|not recogni[sz]ed.*sym|sym.*not recogni[sz]ed",
            "symmetry",
        ),
        (r"(classes|axis|mirror|inversions|group|irrep)", "symmetry"),
        (r"reciprocal lattice vector|k-?points?|k point|tetrahedr|q-?point|q grid", "KPOINTS"),
        # ---- relaxation
        (r"step-length unreasonably|energy difference|bfgs", "bfgs_failed"),
        # ---- restart files
        (r"needed files are missing|not found.*(charge|density|rho)", "restart_files_missing"),
        (
            r"(charge-density|data-file|save(/| dir| file)|restart).*(not|miss|fail|error)",
            "restart_files_missing",
        ),
        (
            r"(wfc|wavefunction).*(not available|not found|do not match|error)",
            "restart_files_missing",
        ),
        (r"read(ing)? (ef )?from file|xml (file|data)|xml error", "restart_files_missing"),
        # ---- disk
        (r"no space left|quota exceeded|file too large|disk full", "disk_full"),
        (r"error (while )?writing|writing (file|to)", "disk_full"),
        (
            r"error (while )?(reading|opening) (from )?file|(cannot|could not|unable to) (open|read|write)",
            "file_error",
        ),
        # ---- input
        (r"bad line in namelist|could not find namelist|reading namelist", "input_error"),
        (
            r"species .*(nonexistent|not found|not in)|different .* species|atomic species",
            "species_mismatch",
        ),
        (r"(ntyp|nsp|nat)\b.*(range|wrong|zero|less|large)|number of atoms", "species_mismatch"),
        (r"ibrav|lattice|celldm|cell parameters|cell_?parameters|unit cell|volume is", "bad_cell"),
        (
            r"not \(?(yet )?\)?(implemented|available|supported|programmed|allowed|tested|coded|possible)",
            "not_implemented",
        ),
        (
            r"no longer (implemented|supported|exist)|\bnyi\b|not compatible|incompatible",
            "not_implemented",
        ),
    )
)

_ROUTINES = _table(
    (
        (
            r"[cr]diagh|diaghg|egterg|david|c_bands|ppcg|paro|rmm|ccgdiag|rcgdiag|rotate_|qr\b|cgsolve",
            "diagonalization_failed",
        ),
        (r"broyden", "broyden_failed"),
        (r"mix_rho", "scf_not_converged"),
        (
            r"readpp|read_pseudo|read_upf|upf|average_pp|init_vloc|init_us|simpson|vloc|psx",
            "pseudopotential_corrupt",
        ),
        (r"set_dft|dft_from|xc_\w*|xclib|funct", "pseudopotential_unfit"),
        (r"check_atoms|sgam_at", "atoms_overlap"),
        (r"cell_base|latgen|abc2celldm|recips|at2celldm|cell_alat|movecell", "bad_cell"),
        (
            r"checkallsym|sgam|symm|sym_|_sym|coset|inverse_s|divide_class|find_group|irr_?rap|rotation"
            r"|which_c2|is_d2|d_matrix|versor|angle_rot|laue|tipo_sym|smallg|star_q|set_irr",
            "symmetry",
        ),
        (
            r"kpoint|irrek|irreducible|k_points|set_kplusq|kp_strings|tetra|divide_et|pool_and",
            "kpoints",
        ),
        (r"fft|realspace_grid|good_order|data_structure", "fft_grid"),
        (r"efermi", "fermi_energy_not_found"),
        (
            r"card|read_namelists|iosys|checkin|bcast_ns|namelist|\binput\b|input_parser|parser|field"
            r"|read_line|_input|readin|setup|set_occupations|set_cutoff|occupations|phq_readin"
            r"|pos_iosys|hubbard|_check$|dftu|version|sub_name",
            "input_error",
        ),
        (
            r"davcio|diropn|open_|io_|iotk|read_file|write_|copy_file|seqopn|openfil|cp_read|mkdir",
            "file_error",
        ),
        (
            r"rhog|read_rho|read_scf|pw_restart|restart|read_xml|read_wfc|read_conf|qexsd|xml",
            "restart_files_missing",
        ),
        (r"^mp_|mp_\w+|_mpi|mpi_|parallel_|reduce_base|bcast", "mpi_failure"),
        (r"bfgs|gdiis|move_ions|vcs", "bfgs_failed"),
        (r"solve_linter|cgsolve_all|phqscf", "phonon_not_converged"),
        (r"path|neb", "path_not_converged"),
        (r"alloc|buffer", "out_of_memory"),
        (r"ewald|stres|force|esm", "internal_error"),
    )
)

_VAGUE = _table(
    (
        (r"alloc", "out_of_memory"),
        (
            r"internal|unexpected|should not|something wrong|strange|not initiali[sz]ed|called|bug\b"
            r"|inconsistent|dimension|out[- ]of[- ]bound|not hermit|non.?hermit|mismatch|singular|not enough|lost|unverified|\bnot an? |is (not )?zero"
            r"|initiali[sz]e|never happen|in rism|recv|occurrences",
            "internal_error",
        ),
        (r"converge", "diagonalization_failed"),
        (r"open|file|\bread|\bwrite|directory|missing", "file_error"),
        (
            r"out of range|wrong|invalid|unknown|must|require|conflict|cannot|can not|specif|need"
            r"|allowed|negative|positive|too (many|few|small|large|big|long|short)|only|should|bad\b"
            r"|incorrect|illegal|redundant|undefined|no longer|deprecated|set\b|option|value|range|different|at least"
            r"|larger|smaller|zero|exceed",
            "input_error",
        ),
        (r"error|fail|problem|not found", "internal_error"),
    )
)

_ANY = r""
_UNFIT = r"igcx|conflict|inconsistent dft|relativ|not impl"
_NO_INPUT_ERROR = (
    r"band|metallic|smearing is needed|specify occ|fixed occ|strange occ|files are missing"
    r"|not (yet )?impl|not avail|not supp|no longer|species|\bnat\b|ntyp|ibrav|lattice|celldm"
    r"|k.?points|pool|spin-orbit|relativistic|tetra|not prog"
)
# Where the same words mean different things in different routines: routine, message, class.
_BOTH = tuple(
    (re.compile(routine), re.compile(message), name)
    for routine, message, name in (
        (r"readpp|read_pseudo|read_upf|upf", r"not found", "pseudopotential_missing"),
        (r"readpp|read_pseudo|read_upf", rf"^(?!.*({_UNFIT}))", "pseudopotential_corrupt"),
        (r"check_atoms|sgam_at", r"^(?!.*sym)", "atoms_overlap"),
        (r"qes_(read|bcast)|qexsd", _ANY, "restart_files_missing"),
        (r"broyden", _ANY, "broyden_failed"),
        (r"cell_base|latgen|abc2celldm|cell_alat", _ANY, "bad_cell"),
        (r"davcio|diropn", r"writ", "disk_full"),
        (r"davcio|diropn", _ANY, "file_error"),
        (r"card_kpoints|add_kpoints", _ANY, "kpoints"),
        (
            r"read_cards|card_atomic",
            r"species|\bnsp\b|\bnat\b|ntyp|atomic.?position|specie\b",
            "species_mismatch",
        ),
        (r"read_cards|card_atomic", _ANY, "input_error"),
        (
            r"card|namelist|iosys|checkin|^input$|pos_iosys|set_occupations|^setup$|parser",
            rf"^(?!.*({_NO_INPUT_ERROR}))",
            "input_error",
        ),
    )
)

_ALIASES = {"DIAG": "diagonalization_failed", "KPOINTS": "kpoints"}


def class_of_block(block: ErrorBlock) -> str:
    """Return the class of failure an error block means; UNKNOWN where nothing matches."""
    routine, message = _plain(block.routine), _plain(block.message)
    if (special := _special(routine, message)) is not None:
        return special
    for table, text in ((_MESSAGES, message), (_ROUTINES, routine), (_VAGUE, message)):
        for pattern, name in table:
            if pattern.search(text):
                return _ALIASES.get(name, name)
    return "internal_error" if routine else UNKNOWN  # a check of the program's own


def _special(routine: str, message: str) -> str | None:
    """Return the class where the same words mean different things in different routines."""
    if re.search(r"[cr]diaghg?$|[cr]egterg|ppcg|paro", routine) and "allocat" not in message:
        for pattern, name in _MESSAGES[:_OF_DIAGONALISATION]:
            if pattern.search(message):
                return _ALIASES.get(name, name)
        return "diagonalization_failed"
    for of_routine, of_message, name in _BOTH:
        if of_routine.search(routine) and of_message.search(message):
            return name
    return None


_LINES = _table(
    (
        (r"no space left on device|disk quota exceeded|enospc|quota exceeded", "disk_full"),
        (r"file size limit exceeded|file too large|sigxfsz|disk full", "disk_full"),
        (
            r"oom-kill|out of memory|oom killer|cannot allocate memory|std::bad_alloc",
            "out_of_memory",
        ),
        (
            r"insufficient virtual memory|allocation would exceed memory|error allocating \d+ bytes",
            "out_of_memory",
        ),
        (r"exceeded (\w+ ){0,3}memory limit|memoryerror|cuda_error_out_of_memory", "out_of_memory"),
        (
            r"due to time limit|walltime .*exceeded|exceeded (its |the )?(wall|time)|time limit reached"
            r"|timelimit|term_runlimit|job killed: walltime",
            "walltime",
        ),
        (
            r"error while loading shared libraries|cannot open shared object|command not found"
            r"|no such file or directory: '?\S*pw\.x|unable to (find|launch).*executable"
            r"|could not find an executable|execvp error|execve\(\)|exec format error"
            r"|no module named|modulenotfounderror|permission denied.*\.x\b|\.x:? (no such|permission)",
            "program_missing",
        ),
        (
            r"illegal instruction|please verify that (both )?the operating system and the processor"
            r"|sigill",
            "illegal_instruction",
        ),
        (r"floating.point exception|sigfpe|signal 8\b", "floating_point_exception"),
        (
            r"segmentation fault|sigsegv|sigbus|bus error|severe \(174\)|signal (11|7)\b",
            "segmentation_fault",
        ),
        (
            r"sigkill|signal 9\b|killed by signal: 9|^killed$|exit code: 9\b|exit code: 137",
            "killed",
        ),
        (
            r"sigterm|signal 15\b|^terminated$|cancelled at|killed by signal: 15|sigint|sighup"
            r"|sigusr|node_?fail|due to node failure|preempt",
            "terminated",
        ),
        (r"sigabrt|signal 6\b|^aborted|core dumped|exit code: 134", "aborted"),
        (
            r"severe \(\d+\)|fortran runtime error|fortran stop|at line \d+ of file|pgfio|lib-\d+ :"
            r"|end of file during read|forrtl:",
            "fortran_runtime_error",
        ),
        (
            r"mpi_abort|mpirun has exited|mpirun noticed|orterun|orte_|prte|pmix|mpi_errors_are_fatal"
            r"|not enough slots|bad termination of one of your application|fatal error in (p?mpi|internal)"
            r"|srun: error|mpi_init|ucx +error|hydra|mpiexec",
            "mpi_failure",
        ),
        (r"glibc detected|double free|corrupted|stack smashing|munmap_chunk", "aborted"),
    )
)


def class_of_line(line: str) -> str | None:
    """Return the class a line of the system, a run-time or a batch system means, or None."""
    plain = _plain(line)
    if not plain or len(plain) > 2000:
        return None
    for pattern, name in _LINES:
        if pattern.search(plain):
            return name
    return None


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
