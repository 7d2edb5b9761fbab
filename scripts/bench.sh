#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Times generation with a bundled model and prints machine, commit, threads, median and spread:
#   scripts/bench.sh BUILD_FOLDER [RUNS]
# This says how fast a build is on this machine, compared with another build on it; it says nothing
# about official models, which are larger: see `nextscale bench model`.
set -euo pipefail

readonly BUILD=${1:-build}
readonly RUNS=${2:-7}
readonly NEXTSCALE=$BUILD/apps/nextscale
MODEL=$(realpath --relative-to=. "$(dirname "$0")/../pretrained/class128")
readonly MODEL

# The number behind "$1" in the JSON on stdin.
number() {
  sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p" | head -1
}

# "median (least to most)" of the numbers on stdin, one per line.
summary() {
  sort -g | awk '{ value[NR] = $1 }
    END { printf "%.3f s (%.3f to %.3f, %d runs)", value[int((NR + 1) / 2)], value[1], value[NR], NR }'
}

main() {
  local folder
  folder=$(mktemp -d)
  trap 'rm -rf "'"$folder"'"' EXIT
  local run
  for ((run = 0; run < RUNS; ++run)); do
    "$NEXTSCALE" generate -m "$MODEL" --class dog -n 4 -s 1 --json -o "$folder/picture.png" \
      2>/dev/null >"$folder/run.json"
    number scale_seconds <"$folder/run.json" >>"$folder/scales"
    number seconds <"$folder/run.json" >>"$folder/seconds"
  done
  echo "machine   $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1), $(nproc) threads"
  echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
  echo "command   nextscale generate -m $MODEL --class dog -n 4 -s 1"
  echo "scales    $(summary <"$folder/scales")"
  echo "whole     $(summary <"$folder/seconds")"
}

main </dev/null
