#!/bin/sh
# Joins a Ray cluster as a node without CPUs or GPUs of its own, then runs the pool's driver there:
# a driver needs a raylet on its own host. `exec` hands SIGTERM to the pool, which gives its leases
# back; when either ends the container does, and its restart policy starts both again.
# Usage: RAY_ADDRESS=HOST:6379 pool.sh [options of `synthforge work`]
set -eu
ray start --address="${RAY_ADDRESS:?HOST:PORT of the Ray head}" --num-cpus=0 --num-gpus=0 \
    --object-store-memory=134217728 --disable-usage-stats >/dev/null
exec synthforge work "$@"
