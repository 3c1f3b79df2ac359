#!/usr/bin/env bash
# Compiles and tests android_sample without Gradle and without the Android SDK: resources by aapt2, Kotlin by
# npm's kotlin-compiler with warnings as errors, tests on the real engine from pip's litert-lm-api.
# Usage: scripts/check_android.sh
#
# Tools: JDK 17 or newer, npm, and the Debian packages below; as root (or with sudo that asks nothing) missing
# ones are installed. Everything else is kept in build/android; what has not changed is not compiled again.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$PWD/build/android
tools=$out/tools/node_modules
kotlin=$tools/kotlin-compiler/lib
jars=/usr/share/java
framework=/usr/share/android-framework-res/framework-res.apk
npm_packages="kotlin-compiler@2.4.20 @nativescript/types-android@9.1.1"

. scripts/android/tools.sh
. scripts/android/modules.sh
. scripts/android/check_device_scripts.sh

require_tools
python -c "import exporter, litert_lm, PIL, transformers" 2> /dev/null || . scripts/setup.sh dev

step "style"
check_lines
python scripts/android/check_gradle.py $sample || fail "the Gradle files contradict themselves (see above)"
inputs=$(fingerprint)
if [ "$inputs" != "$(cat "$out/compiled" 2> /dev/null || true)" ]; then
  rm -rf "$out/classes" "$out/compiled"
  step "resources"
  link_resources
  step "compile"
  compile_stubs
  compile_modules
  echo "$inputs" > "$out/compiled"
fi

step "bundles"
export_bundles
step "tests"
run_tests
step "device scripts"
check_device_scripts
echo "android_sample: all of it compiled and tested (${SECONDS} s)"
