#!/bin/bash
# Makes .venv with the tested packages and mmcv's compiled operators; returns
# at once where that is done.
# Usage: bash tools/setup_env.sh [--offline FOLDER [--system-torch]]
#
# --offline       without a network, from what `make wheelhouse` collected
# --system-torch  with the torch that PYTHON has: all that is installed there
#                 stays and is used, .venv holds only what is missing
# A later call without arguments repeats them; `make distclean` forgets them.
#
# PYTHON       interpreter to use, Python 3.10 to 3.13 (default: the first of
#              python3.11, 3.12, 3.13, 3.10, python3 and python that is one;
#              offline it has the version that FOLDER is for)
# FX_MM_CUDA   1 builds CUDA operators, 0 CPU ones (default: CUDA where a GPU,
#              a CUDA torch and an nvcc of the same major version are present;
#              offline 0)
# FX_MM_CACHE  folder of the built mmcv wheels
#              (default: ${XDG_CACHE_HOME:-~/.cache}/fx_mm)
# MAX_JOBS     compilers run at a time (default: the number of cores)
set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=$root/.venv
logs=$venv/setup-logs
stamp=$venv/setup-stamp
py=$venv/bin/python
options=$venv/setup-options
constraints=requirements/constraints.txt
cxx_flags='-g0 -O2 -std=c++20'
recipe=1 # raise it when a change below must not reuse older wheels
nvcc=${CUDA_HOME:-/usr/local/cuda}/bin/nvcc
[ -x "$nvcc" ] || nvcc=$(command -v nvcc || true)
work=
offline='' system_torch='' for_python='' old=('' '' '' '') # see offline.sh
venv_options=()
pip_options=(--progress-bar off)

fail() { # what happened and why, what to do
  trap - ERR
  echo "setup: $1; $2" >&2
  exit 1
}

trap 'fail "line $LINENO of tools/setup_env.sh failed" "run bash -x on it"' ERR
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

read_arguments() {
  local usage='usage: tools/setup_env.sh [--offline FOLDER [--system-torch]]'
  while [ $# -gt 0 ]; do
    case $1 in
      --offline)
        [ $# -gt 1 ] || fail '--offline names no folder' "$usage"
        case $2 in
          /*) offline=$2 ;;
          *) offline=$OLDPWD/$2 ;;
        esac
        shift
        ;;
      --system-torch) system_torch=yes ;;
      *) fail "unknown argument $1" "$usage" ;;
    esac
    shift
  done
  [ -z "$system_torch" ] || [ -n "$offline" ] ||
    fail '--system-torch needs --offline' "$usage"
}

fingerprint() {
  {
    echo "$root|${FX_MM_CUDA:-}|${PYTHON:-}|$offline|$system_torch"
    cat requirements/*.txt setup.py fx_mm/version.py tools/{setup_env,offline}.sh
  } | sha256sum | cut -d' ' -f1
}

up_to_date() {
  [ -x "$py" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)" ]
}

explain() { # log, default remedy: the last error found, with its remedy
  local last
  last=$(grep -aiE '(^|[^a-z])(error|fatal)' "$1" | tail -1 || true)
  last=$(echo "${last:-$(tail -1 "$1" || true)}" | cut -c1-200)
  if grep -aq 'No space left on device' "$1"; then
    fail "$3 failed: the disk is full" "free 8 GB, run it again (log: $1)"
  elif grep -aqiE 'name resolution|retries|unreachable|timed out' "$1"; then
    fail "$3 failed: no package index in reach ($last)" \
      "check the network and 'pip config list' (log: $1)"
  elif grep -aqE 'No matching dist|satisfies the requirement' "$1"; then
    fail "$3 failed: the package index lacks a version ($last)" \
      "use an index that has it, or change $constraints (log: $1)"
  elif grep -aqE 'Killed|MemoryError|out of memory' "$1"; then
    fail "$3 failed: not enough memory" "run it with MAX_JOBS=1 (log: $1)"
  elif grep -aqE 'lib(GL|gthread|glib)[-.0-9a-z]*so' "$1"; then
    fail "$3 failed: OpenCV lacks a system library ($last)" \
      "apt-get install libgl1 libglib2.0-0 (log: $1)"
  fi
  fail "$3 failed: $last" "$2 (log: $1)"
}

# bash ignores errexit in a function called here: it must be one chain.
step() { # name, remedy, command...: runs it with a log of its own
  local name=$1 remedy=$2 begin=$SECONDS log=$logs/$1.log
  shift 2
  printf 'setup: %-9s ' "$name"
  "$@" >"$log" 2>&1 </dev/null || {
    echo failed
    explain "$log" "$remedy" "step '$name'"
  }
  echo "$((SECONDS - begin)) s"
}

suits() { # interpreter
  "$1" - "$for_python" "$system_torch" 2>/dev/null <<'EOF'
import importlib.util
import sys

version, torch = sys.argv[1:]
here = sys.version_info[:2]
exit(
    not (3, 10) <= here <= (3, 13)
    or version not in ('', '%d.%d' % here)
    or torch != '' and importlib.util.find_spec('torch') is None
)
EOF
}

find_python() {
  local try wanted='Python 3.10 to 3.13' tries
  local remedy='apt-get install python3 python3-venv python3-dev, or set PYTHON'
  tries='python3.11 python3.12 python3.13 python3.10 python3 python'
  if [ -n "$offline" ]; then
    wanted="Python $for_python${system_torch:+ with a torch}"
    tries="python3 python python$for_python"
    remedy="set PYTHON, or collect $offline for another (make wheelhouse)"
  fi
  if [ -n "${PYTHON:-}" ]; then
    suits "$PYTHON" || fail "PYTHON=$PYTHON is no $wanted" 'name one that is'
    echo "$PYTHON"
    return
  fi
  for try in $tries; do
    if suits "$try"; then
      command -v "$try"
      return
    fi
  done
  fail "no $wanted found" "$remedy"
}

check_system() {
  local version modules='ensurepip, venv'
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  if [ -n "$system_torch" ] && "$python" -c 'import pip' 2>/dev/null; then
    venv_options=(--without-pip)
    modules=venv
  fi
  "$python" -c "import $modules" 2>/dev/null ||
    fail "$python has no module venv" "apt-get install python$version-venv"
  "$python" -c '
import os, sysconfig
include = sysconfig.get_paths()["include"]
exit(not os.path.exists(os.path.join(include, "Python.h")))' ||
    fail "$python has no C headers (Python.h)" \
      "apt-get install python$version-dev"
  command -v g++ >/dev/null || fail 'no g++ found' 'apt-get install g++'
  echo 'int main() {}' | g++ -std=c++20 -fsyntax-only -x c++ - 2>/dev/null ||
    fail "$(g++ --version | head -1) knows no C++20" 'install g++ 10 or newer'
}

make_venv() {
  local wanted
  wanted=$("$python" --version)
  [ "$("$py" --version 2>&1)" = "$wanted" ] && "$py" -m pip --version ||
    "$python" -m venv "${venv_options[@]}" "$venv" || {
    rm -rf .venv/{bin,include,lib,lib64,pyvenv.cfg}
    "$python" -m venv "${venv_options[@]}" "$venv"
  }
}

pip_install() {
  "$py" -m pip install "${pip_options[@]}" "$@"
}

look_at_torch() { # its version, its CUDA, whether a GPU is in reach; tag
  "$py" - 2>/dev/null <<'EOF'
import platform
import sys

import torch

tag = 'cp{}{}'.format(*sys.version_info)
system = '-'.join((platform.machine(), *platform.libc_ver()))
gpu = torch.cuda.is_available()
print(torch.__version__, torch.version.cuda, gpu, f'{tag}_{system}')
EOF
}

operators() { # CUDA of torch, GPU in reach: prints cpu or cuda<version>
  local torch_cuda=$1 gpu=$2 release=none
  [ -z "$nvcc" ] ||
    release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
  case ${FX_MM_CUDA:-$gpu} in
    1)
      [ "$release" != none ] || fail 'FX_MM_CUDA=1, but no nvcc was found' \
        'install the CUDA toolkit or set CUDA_HOME'
      [ "$torch_cuda" != None ] || fail 'FX_MM_CUDA=1, but torch has no CUDA' \
        'let pip install a CUDA build of torch'
      echo "cuda$torch_cuda"
      ;;
    True)
      if [ "${release%%.*}" = "${torch_cuda%%.*}" ]; then
        echo "cuda$torch_cuda"
      else
        echo "setup: there is a GPU, but nvcc ($release) does not match the" \
          "CUDA of torch ($torch_cuda): operators for the CPU only; install" \
          "that toolkit and run this again" >&2
        echo cpu
      fi
      ;;
    *) echo cpu ;;
  esac
}

prepare_build() {
  local flags
  # torch's headers want C++20, and mmcv's setup.py puts -std=c++17 behind
  # every flag of the user: only a wrapper has the last word. The precompiled
  # header of torch's types makes a file 4 times faster.
  printf '#include <torch/types.h>\n#include <vector>\n' >"$work/pch.h"
  cat >"$work/g++" <<EOF
#!/bin/sh
case " \$* " in
  *' -c '*) exec g++ -include $work/pch.h "\$@" $cxx_flags ;;
  *) exec g++ "\$@" ;;
esac
EOF
  cat >"$work/nvcc" <<EOF
#!/bin/bash
exec "$nvcc" "\${@/-std=c++17/-std=c++20}"
EOF
  chmod +x "$work/g++" "$work/nvcc"
  flags=$("$py" - 2>/dev/null <<'EOF'
import sysconfig

from torch.utils.cpp_extension import include_paths

paths = [*include_paths(), sysconfig.get_paths()['include']]
print(sysconfig.get_config_var('CFLAGS'), '-fPIC', *('-I' + p for p in paths))
EOF
  )
  # shellcheck disable=SC2086
  g++ -x c++-header $flags -DTORCH_API_INCLUDE_EXTENSION_H \
    -DTORCH_EXTENSION_NAME=_ext $cxx_flags "$work/pch.h" -o \
    "$work/pch.h.gch" >"$logs/mmcv-header.log" 2>&1 ||
    echo 'setup: no precompiled header, so the build takes longer'
}

compile_mmcv() { # folder for the wheel
  local vars
  echo "setup: compiling mmcv's operators ($kind), once on this machine:" \
    'about 5 minutes on 2 cores'
  work=$(mktemp -d)
  prepare_build
  vars=(CXX="$work/g++" MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-$(nproc)}")
  if [ "$kind" = cpu ]; then
    vars+=(CUDA_VISIBLE_DEVICES='' FORCE_CUDA=0)
  else
    vars+=(FORCE_CUDA=1 PYTORCH_NVCC="$work/nvcc")
  fi
  # Without pip's cache: it may hold a wheel of this very name that was built
  # where torch was absent and so has no operators at all.
  step build 'read the log' env "${vars[@]}" "$py" -m pip wheel \
    "${pip_options[@]}" --no-cache-dir --no-deps --no-build-isolation \
    --no-binary onedl-mmcv -w "$work/wheel" "onedl-mmcv==$mmcv"
  "$py" -m zipfile -l "$work"/wheel/*.whl | grep '^mmcv/_ext\.' >/dev/null ||
    fail 'the mmcv wheel has no compiled operators' "read $logs/build.log"
  (cd "$work/wheel" && sha256sum -- *.whl >SHA256SUMS)
  rm -rf "$1" "$1.new"
  mv "$work/wheel" "$1.new"
  mv "$1.new" "$1"
}

is_whole() { # wheel folder
  [ -f "$1/SHA256SUMS" ] && (cd "$1" && sha256sum --status -c SHA256SUMS)
}

install_mmcv() { # wheel folder
  "$py" -m pip install --no-deps --force-reinstall "$1"/*.whl &&
    "$py" -c 'import torch, mmcv._ext' && echo "$key" >"$venv/mmcv-key"
}

setup_mmcv() {
  local facts torch torch_cuda gpu tag digest
  mmcv=$(sed -n 's/^onedl-mmcv==//p' "$constraints")
  facts=$(look_at_torch) ||
    fail 'torch does not load' 'remove .venv and run it again'
  read -r torch torch_cuda gpu tag <<<"$facts"
  kind=$(operators "$torch_cuda" "$gpu") || exit 1
  digest=$(echo "$cxx_flags|${TORCH_CUDA_ARCH_LIST:-}|$recipe" | sha256sum)
  key=mmcv${mmcv}_torch${torch}_${tag}_${kind}_${digest:0:8}
  cache=${FX_MM_CACHE:-${XDG_CACHE_HOME:-${HOME:-$venv}/.cache}/fx_mm}/wheels
  mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || cache=$venv/wheels
  mkdir -p "$cache"
  if [ "$(cat "$venv/mmcv-key" 2>/dev/null)" = "$key" ] &&
    "$py" -c 'import torch, mmcv._ext' 2>/dev/null; then
    return
  fi
  # One build at a time: a second checkout waits for the wheel of the first.
  exec 8>"$cache/$key.lock"
  flock 8
  if is_whole "$cache/$key" &&
    install_mmcv "$cache/$key" >"$logs/mmcv-cached.log" 2>&1; then
    echo "setup: mmcv      from the cache"
  else
    compile_mmcv "$cache/$key"
    step mmcv 'read the log' install_mmcv "$cache/$key"
  fi
  exec 8>&-
}

# All of fx_mm too: versions that nobody tested may be there.
check_imports() {
  "$py" - <<'EOF'
import importlib
import pkgutil

import cv2
import mmcv._ext

import fx_mm.apis
import mmdet.models
import mmpretrain.models
import mmseg.models

for module in pkgutil.walk_packages(fx_mm.__path__, 'fx_mm.'):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        # Flower has an environment of its own
        if error.name != 'flwr':
            raise
EOF
}

# shellcheck source=tools/offline.sh
. tools/offline.sh

exec 9<"${BASH_SOURCE[0]}"
flock -n 9 || {
  echo 'setup: waiting for another set-up of this checkout'
  flock 9
}
read_arguments "$@"
recall "$@"
[ -z "$offline" ] || FX_MM_CUDA=${FX_MM_CUDA:-0}
up_to_date && exit

[ -z "$offline" ] || check_folder
python=$(find_python) || exit 1
check_system
echo "setup: making .venv with $("$python" --version), logs in $logs"
mkdir -p "$logs"
if [ -z "$offline" ]; then
  pip_options+=(-c "$constraints")
  step venv 'remove .venv and run it again' make_venv
  step torch 'read the log' pip_install -r requirements/build.txt
  step packages 'read the log' pip_install -r requirements/runtime.txt \
    -r requirements/openmmlab.txt -r requirements/tests.txt
else
  install_offline
fi
setup_mmcv
step fx_mm 'read the log' pip_install --no-deps --no-build-isolation -e .
step check 'remove .venv and run it again' check_imports
fingerprint >"$stamp"
"$py" -m fx_mm.utils.collect_env "wheel cache=$cache" "set up in=$SECONDS s"
