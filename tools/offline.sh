# shellcheck shell=bash disable=SC2154
# The part of setup_env.sh, which reads it, that a machine without a network
# needs. Sets and uses its variables: offline is the folder, system_torch is
# empty or yes, for_python is the version that the folder was collected for, old
# has the folder, system_torch, Python and FX_MM_CUDA of the last call.

recall() { # arguments: what an earlier call was told, unless told otherwise
  [ ! -f "$options" ] || mapfile -t old <"$options"
  [ $# -gt 0 ] || { offline=${old[0]} system_torch=${old[1]}; }
  [ "$offline|$system_torch" = "${old[0]}|${old[1]}" ] || return 0
  PYTHON=${PYTHON:-${old[2]}} FX_MM_CUDA=${FX_MM_CUDA:-${old[3]}}
}

check_folder() {
  local bad
  [ -f "$offline/WHEELHOUSE" ] || fail "$offline is no wheelhouse" \
    "name the folder that 'make wheelhouse' made"
  bad=$(cd "$offline" && sha256sum --quiet -c SHA256SUMS 2>&1) ||
    fail "$offline is damaged (${bad%%$'\n'*})" 'collect or copy it again'
  for_python=$(sed -n 's/^python //p' "$offline/WHEELHOUSE")
  # none of the settings that name an index, or other versions
  export PIP_CONFIG_FILE=/dev/null
  unset PIP_CONSTRAINT
}

# Not by venv's --system-site-packages: where $python is that of a venv, it
# shows what the base of that one has. What .venv holds comes first.
share_packages() {
  "$python" - "$("$py" -c 'import site; print(site.getsitepackages()[0])')" \
    <<'EOF'
import sys
from pathlib import Path

names = ('site-packages', 'dist-packages')
shared = [path for path in sys.path if Path(path).name in names]
lines = [f'import site; site.addsitedir({path!r})\n' for path in shared]
Path(sys.argv[1], 'system_torch.pth').write_text(''.join(lines))
EOF
}

list_missing() { # log: fills missing.txt from the wheelhouse
  local list=$logs/missing.txt
  {
    "$py" -c 'import packaging' || pip_install packaging
  } >"$1" 2>&1 &&
    "$py" tools/wheelhouse.py missing "$offline" "$list" >>"$1" 2>&1 || {
    echo "setup: $(tail -1 "$1" | sed 's/^error: //i') (log: $1)" >&2
    exit 1
  }
  sed -n 's/^stays: /setup: stays     /p' "$1"
}

install_offline() {
  pip_options+=(--no-index --no-deps --find-links "$offline")
  # What a set-up of another kind left would be in the way.
  [ -n "${old[0]}" ] && [ "${old[1]}" = "$system_torch" ] ||
    rm -rf .venv/{bin,include,lib,lib64,pyvenv.cfg,mmcv-key,setup-stamp}
  PYTHON=$python
  printf '%s\n' "$offline" "$system_torch" "$PYTHON" "$FX_MM_CUDA" >"$options"
  step venv 'remove .venv and run it again' make_venv
  [ -z "$system_torch" ] || share_packages
  list_missing "$logs/missing.log"
  step packages 'read the log' pip_install -r "$logs/missing.txt"
}
