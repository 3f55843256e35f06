#!/bin/bash
# A network trained by two processes on two nodes (torch DDP over gloo, no GPU):
#   ai-how submit lab examples/jobs/ddp.sh
#SBATCH --job-name=ddp
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=10
#SBATCH --output=ddp-%j.out
set -eu
script=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's/^ *Command=//p')
case $script in /*) ;; *) script=$SLURM_SUBMIT_DIR/$script ;; esac
here=$(dirname "$script")
# Where the processes meet: the first node's address, and a port of this job's own.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol show node "$first" --oneliner | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
export OMP_NUM_THREADS=1
srun --kill-on-bad-exit=1 "${PYTHON:-python}" -m torch.distributed.run --nnodes="$SLURM_NNODES" \
    --nproc-per-node=1 --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-endpoint="$address:$((20000 + SLURM_JOB_ID % 10000))" "$here/ddp.py"
