#!/bin/bash
# One SCF of silicon by Quantum ESPRESSO:   ai-how submit lab examples/jobs/pw.sh
# With a pw.x of your own:   PW="mpiexec pw.x" PSEUDO_DIR=/upf PSEUDO=Si.upf ai-how submit ...
# Without, pyacemaker's is taken (`make demo` has fetched it; else it is fetched now).
#SBATCH --job-name=silicon
#SBATCH --ntasks=1
#SBATCH --time=20
#SBATCH --output=silicon-%j.out
set -eu
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
if [ -z "${PW:-}" ]; then
    eval "$("${PYTHON:-python}" - <<'END'
import shlex
from pathlib import Path
from pyacemaker.oracle.pseudopotentials import find_pseudopotentials
from pyacemaker.parts.quantum_espresso import quantum_espresso

espresso = quantum_espresso()
upf = Path(find_pseudopotentials(["Si"], "PBE", "pseudodojo", "standard")["Si"].path)
own = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH")
variables = [f"{k}={v}" for k, v in espresso.variables().items() if k in own]
print("PW=" + shlex.quote(shlex.join(["env", *variables, *espresso.pw_command()])))
print(f"PSEUDO_DIR={shlex.quote(str(upf.parent))} PSEUDO={shlex.quote(upf.name)}")
END
)"
fi
work=$(mktemp -d "$PWD/.silicon-XXXXXX")
trap 'rm -rf "$work"' EXIT
cat > "$work/si.in" <<END
&CONTROL
  calculation = 'scf', prefix = 'si', outdir = '$work', pseudo_dir = '$PSEUDO_DIR'
/
&SYSTEM
  ibrav = 2, celldm(1) = 10.263, nat = 2, ntyp = 1, ecutwfc = ${ECUTWFC:-30}
/
&ELECTRONS
  conv_thr = 1d-8
/
ATOMIC_SPECIES
  Si 28.085 $PSEUDO
ATOMIC_POSITIONS crystal
  Si 0.00 0.00 0.00
  Si 0.25 0.25 0.25
K_POINTS automatic
  3 3 3 0 0 0
END
$PW -i "$work/si.in" > "$work/si.out"
grep -q 'convergence has been achieved' "$work/si.out" # JOB DONE is printed without it, too
grep '^!' "$work/si.out"
