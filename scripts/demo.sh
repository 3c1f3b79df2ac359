#!/usr/bin/env bash
# The main job on the shipped tiny pair: set up, export, inspect, generate with and without MTP.
# Usage: scripts/demo.sh [recipe]        (float32, int8 or int4; int8 if none is given)
set -euo pipefail
cd "$(dirname "$0")/.."

recipe=${1:-int8}
bundle=build/tiny-$recipe.litertlm
. scripts/setup.sh engine
mkdir -p build

mtp-export export checkpoints/tiny/target checkpoints/tiny/drafter -o "$bundle" --recipe "$recipe" --force
mtp-export inspect "$bundle"
mtp-export generate "$bundle" --mtp both --max-new-tokens 200 \
  --prompt "$(sed -n 1p checkpoints/tiny/prompts.txt)" \
  --prompt "$(sed -n 2p checkpoints/tiny/prompts.txt)"
