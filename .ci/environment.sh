#!/usr/bin/env bash
# Makes .venv from the first Python 3.11 or 3.12 that runs; says what to do where that cannot be done.
# Usage: environment.sh [PYTHON]
set -euo pipefail

works() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; }
give_up() { printf 'huaxiang: %s\n' "$@" >&2; exit 1; }
version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

python="${1:-}"
if [ -n "$python" ]; then
  works "$python" || give_up "PYTHON=$python is no Python 3.11 or 3.12"
else
  for candidate in python3 python3.12 python3.11; do
    if works "$candidate"; then python="$candidate"; break; fi
  done
fi
[ -n "$python" ] || give_up \
  "needs Python 3.11 or 3.12, and neither python3, python3.12 nor python3.11 is one" \
  "install one (Debian 12: apt-get install python3 python3-venv) or name one: make PYTHON=/path/to/python3.12 ..."

if works .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; then exit 0; fi
rm -rf .venv
if ! "$python" -c 'import ensurepip' >/dev/null 2>&1; then
  # Debian ships venv's seed in a package of its own.
  if "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --without-pip .venv
    "$python" -m pip --python .venv/bin/python install --quiet pip
    exit 0
  fi
  package="python$(version "$python")-venv"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $package (this Python cannot make virtual environments without it)"
    apt-get install -y -qq "$package" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq "$package" >/dev/null; } ||
      give_up "could not install $package"
  else
    give_up "$python cannot make virtual environments: as root, apt-get install $package; then run make again"
  fi
fi
"$python" -m venv .venv
