"""What Quantum ESPRESSO says when it stops, and the class of failure it means.

Three tables, each tried from top to bottom: what the same words mean in one routine or
another, messages (``Error in routine ROUTINE (n): MESSAGE``), and the routines themselves
where the message says nothing.
"""

from __future__ import annotations

import re

from pyacemaker.oracle.espresso.healing.classes import UNKNOWN
from pyacemaker.oracle.espresso.healing.error_blocks import ErrorBlock
from pyacemaker.oracle.espresso.healing.patterns import plain, table

_OF_DIAGONALISATION = 7  # rows at the top of _MESSAGES
_MESSAGES = table(
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
            r"error (while )?(reading|opening) (from )?file"
            r"|(cannot|could not|unable to) (open|read|write)",
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
            r"not \(?(yet )?\)?"
            r"(implemented|available|supported|programmed|allowed|tested|coded|possible)",
            "not_implemented",
        ),
        (
            r"no longer (implemented|supported|exist)|\bnyi\b|not compatible|incompatible",
            "not_implemented",
        ),
    )
)

_ROUTINES = table(
    (
        (
            r"[cr]diagh|diaghg|egterg|david|c_bands|ppcg|paro|rmm|ccgdiag|rcgdiag"
            r"|rotate_|qr\b|cgsolve",
            "diagonalization_failed",
        ),
        (r"broyden", "broyden_failed"),
        (r"^ortho|_ortho|gram", "diagonalization_failed"),
        (r"mix_rho", "scf_not_converged"),
        (
            r"readpp|read_pseudo|read_upf|upf|average_pp|init_vloc|init_us|simpson|vloc|psx",
            "pseudopotential_corrupt",
        ),
        (r"set_dft|dft_from|xc_\w*|xclib|funct", "pseudopotential_unfit"),
        (r"check_atoms|sgam_at", "atoms_overlap"),
        (r"cell_base|latgen|abc2celldm|recips|at2celldm|cell_alat|movecell", "bad_cell"),
        (
            r"checkallsym|sgam|symm|sym_|_sym|coset|inverse_s|divide_class"
            r"|find_group|irr_?rap|rotation"
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
            r"card|read_namelists|iosys|checkin|bcast_ns|namelist|\binput\b"
            r"|input_parser|parser|field"
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

_VAGUE = table(
    (
        (r"alloc", "out_of_memory"),
        (
            r"internal|unexpected|should not|something wrong|strange"
            r"|not initiali[sz]ed|called|bug\b"
            r"|inconsistent|dimension|out[- ]of[- ]bound|not hermit|non.?hermit"
            r"|mismatch|singular|not enough|lost|unverified|\bnot an? |is (not )?zero"
            r"|initiali[sz]e|never happen|in rism|recv|occurrences",
            "internal_error",
        ),
        (r"converge", "diagonalization_failed"),
        (r"open|file|\bread|\bwrite|directory|missing", "file_error"),
        (
            r"out of range|wrong|invalid|unknown|must|require|conflict|cannot|can not|specif|need"
            r"|allowed|negative|positive"
            r"|too (many|few|small|large|big|long|short)|only|should|bad\b"
            r"|incorrect|illegal|redundant|undefined|no longer|deprecated|set\b"
            r"|option|value|range|different|at least"
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
        (r"card_", r"must be present|two occurrences", "input_error"),
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
    routine, message = plain(block.routine), plain(block.message)
    if (special := _special(routine, message)) is not None:
        return special
    for rows, text in ((_MESSAGES, message), (_ROUTINES, routine), (_VAGUE, message)):
        for pattern, name in rows:
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
