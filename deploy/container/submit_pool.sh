#!/bin/sh
# Runs the pool as a job of a Ray cluster and follows it until it ends; SIGTERM stops the job.
# An id that ended before is taken back first; while it runs Ray refuses, and so does this script.
# Usage: RAY_API_SERVER_ADDRESS=http://HEAD:8265 submit_pool.sh [options of `synthforge work`]
set -eu
: "${RAY_API_SERVER_ADDRESS:?http://HOST:8265 of the Ray head}"
job="${POOL_ID:-synthforge-pool}"
trap 'ray job stop "$job" --no-wait || true; exit 143' TERM INT
ray job delete "$job" >/dev/null 2>&1 || true
ray job submit --submission-id "$job" -- synthforge work "$@" &
wait "$!"
