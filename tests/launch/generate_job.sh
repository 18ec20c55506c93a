#!/bin/bash
# PYTHON -m openr1 generate deepseek-r1-generate
# Written by openr1. `sbatch HERE/runs/RUN/slurm/job.sh` submits it again; it continues where it stopped.
#SBATCH --job-name=openr1-RUN
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=24:00:00
#SBATCH --gres=gpu:8
#SBATCH --output=HERE/runs/RUN/slurm/job-%j.out
#SBATCH --open-mode=append
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --exclusive
set -u
cd HERE || exit 5
export OPENR1_SUBMITTED=HERE/runs/RUN/slurm/expected.json
# The nodes meet on the first one, at a port that depends on the job.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol show node -o "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
port=$((20000 + (SLURM_JOB_ID * 7 + ${SLURM_RESTART_COUNT:-0}) % 20000))
export OPENR1_MASTER="${address:-$first}:$port"
echo "nodes: $SLURM_JOB_NODELIST, meeting at $OPENR1_MASTER"

# --wait: when one node has ended, the others are given this many seconds.
srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --wait=60 \
  bash -c 'exec "$@" --nodes 2 --node-rank "$SLURM_PROCID" --master "$OPENR1_MASTER"' openr1 \
  PYTHON -m openr1 generate deepseek-r1-generate
code=$?

# 130: stopped before the time limit, with a checkpoint. 7 or a signal: a node or a process failed, which
# another try may mend. The job is put into the queue again and continues.
again=no
if [ "$code" -eq 130 ]; then
  [ "${SLURM_RESTART_COUNT:-0}" -lt 200 ] && again=yes
elif [ "$code" -eq 7 ] || [ "$code" -gt 128 ]; then
  failures=HERE/runs/RUN/slurm/failures-$SLURM_JOB_ID
  echo "$code" >> "$failures"
  [ "$(wc -l < "$failures")" -le 3 ] && again=yes
fi
if [ "$again" = yes ]; then
  echo "openr1 ended with $code; the job goes back into the queue and will continue"
  scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
exit "$code"
