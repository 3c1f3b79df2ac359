#!/usr/bin/env bash
# Runs one prompt with MTP off and on, on CPU and GPU of a device, and collects the figures as JSON.
# Usage: scripts/android/compare_on_device.sh NAME.litertlm [-o FILE] [-p PROMPT] [-a "CPU GPU"] [-r ROUNDS]
#        [-n MAX_TOKENS]
#
# Needs a debug build of the app and a bundle that push_bundle.sh put there. Every accelerator gets a fresh
# process. Exit code 1 if no accelerator gave figures.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/android/device.sh

output=/dev/stdout
prompt="Explain in a few sentences why the sky is blue."
accelerators="CPU GPU"
rounds=3
max_tokens=128
name=${1:-}
[ -n "$name" ] || fail "usage: $0 NAME.litertlm [-o FILE] [-p PROMPT] [-a \"CPU GPU\"] [-r ROUNDS] [-n MAX_TOKENS]"
shift
while getopts "o:p:a:r:n:" option; do
  case $option in
    o) output=$OPTARG ;;
    p) prompt=$OPTARG ;;
    a) accelerators=$OPTARG ;;
    r) rounds=$OPTARG ;;
    n) max_tokens=$OPTARG ;;
    *) exit 2 ;;
  esac
done
require_plain_name "$name"
require_app

# One line of JSON from a fresh process, or an error as JSON if that process died.
compare_on() {
  adb shell "am instrument -w -e bundle $name -e accelerator $1 -e rounds $rounds -e max_tokens $max_tokens \
    -e prompt_base64 $(printf %s "$prompt" | base64 | tr -d '\n') $app/$app.AbInstrumentation" \
    | tr -d '\r' > "$work/answer" || true
  sed -n 's/^INSTRUMENTATION_RESULT: report=//p' "$work/answer" > "$work/report"
  [ -s "$work/report" ] || printf '{"error": "the process on %s ended without a report"}\n' "$1" > "$work/report"
  cat "$work/report"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for accelerator in $accelerators; do
  echo "$name on $accelerator: $((2 * (rounds + 1))) replies" >&2
  compare_on "$accelerator" >> "$work/reports"
done
adb logcat -d > "$work/log" 2> /dev/null || true
soc=$(adb shell getprop ro.soc.model | tr -d '\r')
python3 scripts/android/collect_reports.py "$work/reports" "$work/log" "$soc" > "$work/figures" || failed=1
cat "$work/figures" > "$output"
exit "${failed:-0}"
