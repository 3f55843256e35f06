"""Quantum ESPRESSO 7.2 from the package index, in an environment of its own.

The wheel ``qepy`` (GPL) holds pw.x but wants a numpy that does not go with ours. It brings
netlib's reference BLAS; the scipy put beside it holds an OpenBLAS with plain symbol names,
which is loaded before and makes a label of eight silicon atoms 1.6 times faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyacemaker.parts.environments import Environment, EnvironmentSpec, Say, environment
from pyacemaker.parts.sources import PartError

SPEC = EnvironmentSpec(
    name="quantum-espresso",
    pins=(),
    pins_alone=("qepy==7.2.0", "numpy==1.26.4", "f90wrap==0.3.0", "scipy==1.11.4"),
    smoke_test=(
        "import qepy\n"
        "from qepy.driver import Driver\n"
        "assert qepy.qepy_pw.electrons and qepy.qepy_pw.forces and qepy.qepy_pw.stress\n"
    ),
    size_MB=400,
)
_OWN_PROGRAM = (
    "name a pw.x of your own in oracle.command (Debian and Ubuntu: quantum-espresso), or use "
    "Python 3.11 or 3.12"
)


@dataclass(frozen=True)
class QuantumEspresso:
    """The program from the package index."""

    environment: Environment

    def pw_command(self) -> tuple[str, ...]:
        """Return the command line to which ``-i FILE`` is added."""
        return (str(self.environment.python), "-m", "qepy", "--pw.x")

    def variables(self, threads: int = 1, blas: bool = True) -> dict[str, str]:
        """Return the environment variables for `threads` threads of linear algebra.

        Without `blas` the wheel's own, slow library is used, for comparison.
        """
        count = str(threads)
        own = self.environment.variables(
            OMP_NUM_THREADS=count, OPENBLAS_NUM_THREADS=count, MKL_NUM_THREADS=count
        )
        if blas and (library := self._openblas()) is not None:
            own["LD_PRELOAD"] = str(library)
            paths = [str(library.parent), own.get("LD_LIBRARY_PATH", "")]
            own["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
        return own

    def _openblas(self) -> Path | None:
        found = self.environment.folder.glob(
            "lib/python*/site-packages/scipy.libs/libopenblasp-*.so"
        )
        return next(iter(sorted(found)), None)


def quantum_espresso(say: Say = lambda _: None) -> QuantumEspresso:
    """Return the program, installed first where it is missing. Raises PartError."""
    try:
        return QuantumEspresso(environment(SPEC, say))
    except PartError as error:
        raise PartError(f"{error}; or {_OWN_PROGRAM}") from error
