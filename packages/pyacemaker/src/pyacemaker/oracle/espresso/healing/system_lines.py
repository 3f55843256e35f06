"""Lines that the operating system, MPI, run-times and batch systems leave in an output."""

from __future__ import annotations

from pyacemaker.oracle.espresso.healing.patterns import plain, table

_LINES = table(
    (
        (r"no space left on device|disk quota exceeded|enospc|quota exceeded", "disk_full"),
        (r"file size limit exceeded|file too large|sigxfsz|disk full", "disk_full"),
        (
            r"oom-kill|out of memory|oom killer|cannot allocate memory|std::bad_alloc",
            "out_of_memory",
        ),
        (
            r"insufficient virtual memory|allocation would exceed memory"
            r"|error allocating \d+ bytes",
            "out_of_memory",
        ),
        (
            r"exceeded (\w+ ){0,3}memory limit|\bv?mem\b.*exceeded|memoryerror"
            r"|cuda_error_out_of_memory",
            "out_of_memory",
        ),
        (
            r"due to time limit|walltime .*exceeded"
            r"|exceeded (its |the )?(wall|time)|time limit reached"
            r"|timelimit|term_runlimit|job killed: walltime",
            "walltime",
        ),
        (
            r"error while loading shared libraries|cannot open shared object|symbol lookup error"
            r"|(\.x|mpirun|mpiexec|srun|pw): command not found|glibc\w*_[\d.]+'? not found"
            r"|no such file or directory: '?\S*pw\.x|unable to (find|launch).*executable"
            r"|could not find an executable|execvp error|execve\(\)|exec format error"
            r"|no module named|modulenotfounderror|permission denied.*\.x\b"
            r"|\.x:? (no such|permission)",
            "program_missing",
        ),
        (
            r"illegal instruction|please verify that (both )?the operating system and the processor"
            r"|sigill",
            "illegal_instruction",
        ),
        (r"floating.point exception|sigfpe|signal 8\b", "floating_point_exception"),
        (
            r"exit code: 139\b|segmentation fault"
            r"|sigsegv|sigbus|bus error|severe \(174\)|signal (11|7)\b",
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
            r"accelerator fatal error|cuda\w* (error|fail)|severe \(\d+\)"
            r"|fortran runtime error|fortran stop|at line \d+ of file|pgfio|lib-\d+ :"
            r"|end of file during read|forrtl:",
            "fortran_runtime_error",
        ),
        (
            r"mpi_abort|mpirun has exited|mpirun noticed|orterun|orte_|prte|pmix"
            r"|mpi_errors_are_fatal"
            r"|not enough slots|bad termination of one of your application"
            r"|fatal error in (p?mpi|internal)"
            r"|srun: error|mpi_init|ucx +error|hydra|mpiexec",
            "mpi_failure",
        ),
        (r"glibc detected|double free|corrupted|stack smashing|munmap_chunk", "aborted"),
    )
)


def class_of_line(line: str) -> str | None:
    """Return the class a line of the system, a run-time or a batch system means, or None."""
    said = plain(line)
    if not said or len(said) > 2000:
        return None
    for pattern, name in _LINES:
        if pattern.search(said):
            return None if name == "mpi_failure" and "warning" in said else name
    return None
