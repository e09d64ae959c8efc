#!/usr/bin/env bash
# Train on several processes of one machine, or of each of several:
#   tools/dist_train.sh CONFIG NUM [arguments of tools/train.py]
# NUM processes, one a GPU, or on CPU cores where there is no GPU. For several
# machines set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -e
here=$(dirname "$(realpath "$0")")
tool=${TOOL:-train}

config=$1
num=$2
if [ -z "$num" ]; then
    echo "usage: $0 CONFIG NUM [arguments of tools/$tool.py]" >&2
    exit 2
fi
shift 2

if [ -n "$MASTER_ADDR" ] || [ -n "$NNODES" ]; then
    meet=(
        --nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}"
        --master-addr="${MASTER_ADDR:-127.0.0.1}"
        --master-port="${PORT:-29500}"
    )
else
    # any free port, so that two runs do not meet
    meet=(--standalone)
fi
export PYTHONPATH=$(dirname "$here")${PYTHONPATH:+:$PYTHONPATH}
exec "${PYTHON:-python}" -m torch.distributed.run "${meet[@]}" \
    --nproc-per-node="$num" \
    "$here/$tool.py" "$config" "$@" --launcher pytorch
