#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Times generation with the model of the demo and prints machine, commit, threads, median and spread:
#   scripts/bench.sh BUILD_FOLDER DEMO_FOLDER [RUNS]
# The small random model says how fast this build is on this machine, compared with another build on
# it; it says nothing about official models.
set -euo pipefail

readonly BUILD=${1:-build}
readonly DEMO=${2:-demo}
readonly RUNS=${3:-7}
readonly NEXTSCALE=$BUILD/apps/nextscale

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
    "$NEXTSCALE" generate -m "$DEMO/model" --class tabby -n 4 -s 1 --json -o "$folder/picture.png" \
      2>/dev/null >"$folder/run.json"
    number scale_seconds <"$folder/run.json" >>"$folder/scales"
    number seconds <"$folder/run.json" >>"$folder/seconds"
  done
  echo "machine   $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1), $(nproc) threads"
  echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
  echo "command   nextscale generate -m $DEMO/model --class tabby -n 4 -s 1"
  echo "scales    $(summary <"$folder/scales")"
  echo "whole     $(summary <"$folder/seconds")"
}

main </dev/null
