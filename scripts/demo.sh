#!/usr/bin/env bash
# The main job on the shipped tiny pair: set up, export, inspect, generate, compare MTP off and on.
# Usage: scripts/demo.sh [recipe]        (int8 if none is given: four bits, export's default, cost a model as small as
#                                          this more than a large one)
set -euo pipefail
cd "$(dirname "$0")/.."

recipe=${1:-int8}
bundle=build/tiny-$recipe.litertlm
. scripts/setup.sh engine
mkdir -p build

mtp-export export checkpoints/tiny/target checkpoints/tiny/drafter -o "$bundle" --recipe "$recipe" --force
mtp-export inspect "$bundle"
head -8 checkpoints/tiny/prompts.txt > build/prompts.txt
# One thread: a model this small is slower with more, as threads wait for one another at every operation.
mtp-export generate "$bundle" --prompt "$(head -1 build/prompts.txt)" --threads 1
mtp-export compare "$bundle" --prompts build/prompts.txt --max-new-tokens 200 --threads 1
