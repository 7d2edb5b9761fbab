#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a checkpoint in the official format to pictures, with the built tools:
#   scripts/demo.sh BUILD_FOLDER DEMO_FOLDER
# The checkpoint is small and its weights are random. It and the model folder are kept for the next
# run; the pictures are made every time.
set -euo pipefail

readonly BUILD=${1:-build}
readonly DEMO=${2:-demo}
readonly NEXTSCALE=$BUILD/apps/nextscale
readonly RANDOM_CHECKPOINT=$BUILD/apps/random_checkpoint/nextscale-random-checkpoint
readonly PICTURES=$DEMO/pictures.png

run() {
  echo "+ $*" >&2
  "$@"
}

make_model() {
  echo "demo: making a small model with random weights, in the format of the official files"
  run "$RANDOM_CHECKPOINT" --depth 4 --vae-ch 32 --seed 0 -o "$DEMO/official"
  run "$NEXTSCALE" convert --family var --transformer "$DEMO/official/var_d4.pth" \
    --vae "$DEMO/official/vae_ch32v4096z32.pth" -o "$DEMO/model"
}

main() {
  if [[ -d $DEMO/model ]]; then
    echo "demo: using the model in $DEMO/model"
  else
    make_model
  fi
  run "$NEXTSCALE" inspect "$DEMO/model"
  run "$NEXTSCALE" generate -m "$DEMO/model" --class tabby -n 4 -s 1 -o "$PICTURES"
  run "$NEXTSCALE" inspect "$PICTURES"
  cat <<END

demo: four pictures of 256x256 pixels are in $PICTURES, the model in $DEMO/model.
demo: THE WEIGHTS ARE RANDOM, SO THE PICTURES ARE NOISE. Only the way from checkpoint to picture is
demo: the real one; the README says how to take it with an official checkpoint.
demo: the lines "key/value cache" above say how many bytes the cache took.
END
}

main </dev/null
