# Sourced by check_android.sh: finds the tools, installs what is missing where it may.

step() { echo "android_sample: $1 (${SECONDS} s)" >&2; }

fail() {
  echo "android_sample: $1" >&2
  exit 1
}

# A command or file, and the Debian package that brings it.
debian_tools="
npm                                npm
aapt2                              aapt
$jars/junit4.jar                   junit4
$jars/hamcrest.jar                 libhamcrest-java
$jars/jna.jar                      libjna-java
$jars/gson.jar                     libgoogle-gson-java
$framework                         android-framework-res
"

missing_packages() {
  javac -version > /dev/null 2>&1 || echo default-jdk-headless
  while read -r wanted package; do
    [ -z "$wanted" ] || [ -e "$wanted" ] || command -v "$wanted" > /dev/null || echo "$package"
  done <<< "$debian_tools"
}

require_tools() {
  install_debian_packages $(missing_packages)
  local version
  version=$(javac -version 2>&1 | sed 's/[^0-9]*\([0-9]*\).*/\1/')
  [ "$version" -ge 17 ] || fail "expected JDK 17 or newer, found $version; put a newer javac on the PATH"
  if [ "$(cat "$out/tools/installed" 2> /dev/null || true)" != "$npm_packages" ]; then
    step "npm packages"
    mkdir -p "$out/tools"
    npm install --silent --no-audit --no-fund --prefix "$out/tools" $npm_packages \
      || fail "npm could not install $npm_packages (see above); it needs the npm registry"
    echo "$npm_packages" > "$out/tools/installed"
  fi
}

install_debian_packages() {
  [ $# -gt 0 ] || return 0
  local install="apt-get install --yes --no-install-recommends $*" as=""
  command -v apt-get > /dev/null || fail "missing: what Debian calls $*"
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2> /dev/null || fail "missing Debian packages; run: sudo $install"
    as="sudo -n"
  fi
  mkdir -p "$out"
  step "installing $*"
  { $as apt-get update && DEBIAN_FRONTEND=noninteractive $as $install; } > "$out/apt.log" 2>&1 \
    || fail "$install failed: $(tail -n 3 "$out/apt.log")"
}

# What the compiled classes depend on.
fingerprint() {
  { find android_sample scripts/android scripts/check_android.sh -type f -print0 | sort -z | xargs -0 sha256sum
    echo "$npm_packages"
    javac -version 2>&1
  } | sha256sum
}

check_lines() {
  local long
  long=$(LC_ALL=C.UTF-8 grep -rnE '^.{111,}' android_sample --include='*.kt' --include='*.kts' --include='*.java' || true)
  [ -z "$long" ] || fail "lines over 110 characters:
$long"
}
