# Sourced by check.sh: a software device for the tests in tests/gpu, if it can be installed here.
# Nothing fails without it; the tests are then skipped and say why.
if [ ! -e /usr/lib/chromium/vk_swiftshader_icd.json ] && [ -z "${VK_ICD_FILENAMES:-}${VK_DRIVER_FILES:-}" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends \
        chromium-common libvulkan1; } >/dev/null ||
      echo "chromium-common and libvulkan1 could not be installed: tests/gpu will be skipped" >&2
  else
    echo "no software GPU; as root: apt-get install chromium-common libvulkan1" >&2
  fi
fi
