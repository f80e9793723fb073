#!/bin/sh
# Makes keys of one's own choosing known to the service, in its database; again changes nothing.
# Usage: SYNTHFORGE_DATABASE_URL=... make_keys.sh [FOLDER of admin_key, worker_key, metrics_key]
set -eu
folder="${1:-/run/secrets}"
synthforge keys bootstrap admin --scopes admin --from-file "$folder/admin_key"
synthforge keys bootstrap pools --scopes worker --from-file "$folder/worker_key"
synthforge keys bootstrap prometheus --scopes read --from-file "$folder/metrics_key"
