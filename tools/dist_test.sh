#!/usr/bin/env bash
# Test on several processes:
#   tools/dist_test.sh CONFIG CHECKPOINT NUM [arguments of tools/test.py]
# See dist_train.sh for several machines.
set -e
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT NUM [arguments of tools/test.py]" >&2
    exit 2
fi
config=$1
checkpoint=$2
num=$3
shift 3
TOOL=test exec "$(dirname "$0")/dist_train.sh" "$config" "$num" \
    "$checkpoint" "$@"
