#!/usr/bin/env bash
# Finds the programs that some tests need beside Python's packages (Chromium with a Chinese font, Java, PostgreSQL), or
# installs Debian's in one go where we are root. What is missing then is said; its tests are skipped, or fail under CI.
set -uo pipefail

found() { for name in "$@"; do command -v "$name" && return; done; return 1; }

missing=()
found chromium chromium-browser google-chrome google-chrome-stable chrome >/dev/null || missing+=(chromium fonts-noto-cjk)
found java "${JAVA_HOME:-/none}/bin/java" >/dev/null || missing+=(default-jre-headless)
found postgres /usr/lib/postgresql/*/bin/postgres >/dev/null || missing+=(postgresql)
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${missing[*]} (for tests)"
  install=(timeout 600 apt-get install -y -qq -o DPkg::Lock::Timeout=300 "${missing[@]}")
  { "${install[@]}" || { timeout 120 apt-get update -qq && "${install[@]}"; }; } >/dev/null 2>&1 && exit 0
fi
echo "not there and not installed: ${missing[*]}; tests that need them are skipped, or fail under CI=true"
exit 0
