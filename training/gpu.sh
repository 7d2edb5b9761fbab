#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole training on a machine with one GPU, in three commands of less than ten minutes each:
#
#   training/gpu.sh vaes      rates, then both VAEs and the judge, at once
#   training/gpu.sh models    both transformers, at once; the first half
#   training/gpu.sh finish    the second half; gathers the class model without its VAE
#   training/gpu.sh text      gathers the text model (seconds)
#
# Results go to $OUT (default training/runs/out), cut into pieces of at most 15 MiB. training/data must be there already:
# sprites.py and tokenizer.py make it. Each command carries on from the files the one before left in training/runs.
# Where those were lost, put exported files back under training/runs/NAME/STAGE and give `models` again.
set -euo pipefail
cd "$(dirname "$0")"
out=${OUT:-runs/out}
mkdir -p "$out" runs
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=4
python=${PYTHON:-python3}
compile=${COMPILE---compile}

train() { # config stage minutes more...
  local config=$1 stage=$2 minutes=$3
  shift 3
  timeout $((minutes * 60 + 75)) "$python" train.py --config "configs/$config.json" --stage "$stage" --minutes "$minutes" "$@" \
    >"runs/$config-$stage.out" 2>&1 || echo "$config $stage: failed with $?" >&2
}

show() { # the last lines of every log, shortened
  for log in runs/*.out; do
    echo "== $log"
    grep -v '"event": "start"' "$log" | tail -n "${1:-3}" | cut -c1-400
  done
}

gather() { # config, what to leave out: one archive, cut into pieces
  rm -rf "runs/ship-$1"
  "$python" package.py --config "configs/$1.json" --out "runs/ship-$1"
  rm -f "runs/ship-$1/${2:-none}"
  tar -C runs -cf "runs/$1.tar" "ship-$1"
  split -b 15M -d -a 1 "runs/$1.tar" "$out/$1.tar."
}

case ${1:-} in
  vaes)
    nvidia-smi --query-gpu=name,memory.used --format=csv || true
    train class256 vae 7 --total-minutes 7 $compile &
    train text256 vae 7 --total-minutes 7 $compile &
    train judge256 judge 6 --total-minutes 6 &
    wait
    show 4
    for config in class256 text256 judge256; do gather "$config"; done
    ;;
  models)
    train class256 model 8 --total-minutes "${TOTAL:-14}" $compile &
    train text256 model 8 --total-minutes "${TOTAL:-14}" $compile &
    wait
    show 4
    gather text256
    ;;
  finish)
    train class256 model "${MINUTES:-6}" --total-minutes "${TOTAL:-14}" $compile &
    train text256 model "${MINUTES:-6}" --total-minutes "${TOTAL:-14}" $compile &
    wait
    show 4
    gather class256 vae.pth  # came with the first command
    ;;
  text)
    gather text256
    ;;
  *)
    sed -n '3,13s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
ls -la "$out"
