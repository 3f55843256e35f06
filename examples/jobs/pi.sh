#!/bin/bash
# Pi on two nodes by MPI:   ai-how submit lab examples/jobs/pi.sh
# Any MPI that knows SLURM will do (Debian: openmpi-bin libopenmpi-dev; PyPI: mpich).
#SBATCH --job-name=pi
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=10
#SBATCH --mem=200
#SBATCH --output=pi-%j.out
set -eu
script=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's/^ *Command=//p')
case $script in /*) ;; *) script=$SLURM_SUBMIT_DIR/$script ;; esac
here=$(dirname "$script")
build=$(mktemp -d "$PWD/.pi-XXXXXX")
trap 'rm -rf "$build"' EXIT
mpicc -O2 "$here/pi.c" -o "$build/pi" -lm
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # clusters of one's own
mpiexec -n "$SLURM_NTASKS" "$build/pi"
