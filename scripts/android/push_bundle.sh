#!/usr/bin/env bash
# Puts a bundle into the sample app on a device, where the app lists it and compare_on_device.sh finds it.
# Usage: scripts/android/push_bundle.sh BUNDLE.litertlm
#
# Needs a debug build of the app, and for a moment twice the bundle's size on the device.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/android/device.sh

[ $# = 1 ] && [ -f "$1" ] || fail "usage: $0 BUNDLE.litertlm"
bundle=$1
name=$(basename "$bundle")
require_plain_name "$name"
require_app

passing=/data/local/tmp/$name
adb push "$bundle" "$passing"
# The shell may read what adb pushed, the app may write its own folder: so the bytes go through a pipe.
adb shell "run-as $app mkdir -p files/bundles
  cat $passing | run-as $app sh -c 'cat > files/bundles/$name.part'
  rm $passing"
size=$(adb shell "run-as $app stat -c %s files/bundles/$name.part" | tr -d '\r')
if [ "$size" != "$(stat -c %s "$bundle")" ]; then
  adb shell "run-as $app rm files/bundles/$name.part"
  fail "only $size bytes arrived; is there enough space on the device?"
fi
adb shell "run-as $app mv files/bundles/$name.part files/bundles/$name"
echo "$name: $size bytes in the app"
