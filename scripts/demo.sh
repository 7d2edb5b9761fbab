#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pictures of the models that come with Nextscale, with the whole key/value cache and with a
# compressed one:
#   scripts/demo.sh BUILD_FOLDER DEMO_FOLDER
# What a model is asked for stands in its folder, in demo.txt: options of `nextscale generate`, one a
# line. A model without this file is not shown.
set -euo pipefail

readonly BUILD=${1:-build}
readonly DEMO=${2:-demo}
readonly NEXTSCALE=$BUILD/apps/nextscale
MODELS=$(realpath --relative-to=. "$(dirname "$0")/../pretrained")
readonly MODELS
readonly COMPRESSED=hackpp:attn=30%,cache=10%

# generate MODEL POLICY NAME: a grid of pictures in the demo folder; prints its bytes of keys and values.
generate() {
  local options=()
  mapfile -t options <"$1/demo.txt"
  local command=("$NEXTSCALE" generate -m "$1" --kv "$2" "${options[@]}" -o "$DEMO/$3.png")
  echo "+ ${command[*]}" >&2
  "${command[@]}" >&2
  "$NEXTSCALE" inspect "$DEMO/$3.png" | sed -n 's/.*KV: .*, \([0-9]*\) bytes per image.*/\1/p'
}

main() {
  mkdir -p "$DEMO"
  local options model name full compressed summary=()
  for options in "$MODELS"/*/demo.txt; do
    model=$(dirname "$options")
    name=$(basename "$model")
    full=$(generate "$model" full "$name-full")
    compressed=$(generate "$model" "$COMPRESSED" "$name-compressed")
    summary+=("$DEMO/$name-full.png: $((full / 1024)) KiB of keys and values a picture"
      "$DEMO/$name-compressed.png: $((compressed / 1024)) KiB, $((100 * compressed / full)) % of them")
  done
  echo
  printf 'demo: %s\n' "${summary[@]}"
}

main </dev/null
