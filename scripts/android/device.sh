# Sourced by the device scripts. ANDROID_SERIAL chooses among several devices, as adb itself reads it.

app=com.example.mtpchat

fail() {
  echo "${0##*/}: $1" >&2
  exit 1
}

require_app() {
  command -v adb > /dev/null || fail "adb is not on the PATH (Android SDK platform-tools)"
  adb shell "run-as $app true" > /dev/null 2>&1 \
    || fail "no device, or no debug build of $app on it: ./gradlew :app:installDebug in android_sample"
}

# Names go through two shells and into a file system.
require_plain_name() {
  case $1 in
    *[!A-Za-z0-9._-]*) fail "expected a file name of letters, digits, dots, dashes, found $1; rename it" ;;
  esac
}
