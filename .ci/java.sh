#!/usr/bin/env bash
# Finds Java 17 or newer for Spark, or installs Debian's where we are root; otherwise says what to do and fails.
set -euo pipefail

if .venv/bin/python -c 'from lake.spark_jars import java; print("java:", java())' 2>/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing default-jre-headless (Spark needs Java 17 or newer)"
  apt-get install -y -qq default-jre-headless >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -y -qq default-jre-headless >/dev/null; } || true
fi
exec .venv/bin/python -c '
import sys
from lake.spark_jars import java
from schemas.errors import HuaxiangError
try:
    print("java:", java())
except HuaxiangError as e:
    sys.exit(f"huaxiang: {e}")
'
