#!/usr/bin/env bash
# Finds Chromium for the tests that open the report, or installs Debian's where we are root. Without one those tests are
# skipped and say so: everything else needs no browser.
set -uo pipefail

for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
  if command -v "$name" >/dev/null; then echo "browser: $(command -v "$name")"; exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing chromium and a Chinese font (for the tests of the report)"
  timeout 600 apt-get install -y -qq chromium fonts-noto-cjk >/dev/null 2>&1 ||
    { timeout 120 apt-get update -qq && timeout 600 apt-get install -y -qq chromium fonts-noto-cjk >/dev/null 2>&1; } ||
    echo "no browser could be installed; tests that need one are skipped"
fi
exit 0
