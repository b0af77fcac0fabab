#!/bin/sh
# The browser tests need Chromium or Chrome. On Debian as root it is installed; elsewhere one that is there is used;
# where there is none, pytest says so and counts the skipped tests (with CI=true it fails instead).
[ -n "${SPATIALMETA_CHROMIUM:-}" ] && exit 0
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Debian's chromium for the browser tests"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
fi
exit 0
