#!/bin/sh
# Lets go what the rules of docs/deploy.md let go, once a day; what fails is told, and tried again
# the next day. Usage: gc_daily.sh [SECONDS between two runs]
set -u
trap 'kill "$waiting" 2>/dev/null; exit 0' TERM INT
waiting=""
while :; do
  sleep "${1:-86400}" &
  waiting=$!
  wait "$waiting"
  synthforge gc || echo "synthforge gc failed: tried again in ${1:-86400} s" >&2
done
