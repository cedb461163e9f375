"""``python -m benchmarks.specialist INBOX DATABASE [--as-of DAY --given FOLDER]``: seconds of each part beside the database."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

from benchmarks.specialist.script import Given, made


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("inbox", type=Path)
    asked.add_argument("database", type=Path)
    asked.add_argument("--as-of", type=date.fromisoformat)
    asked.add_argument("--given", type=Path)
    options = asked.parse_args()
    given = Given(options.as_of, options.given) if options.given else None
    seconds = made(options.inbox, options.database, given)
    options.database.with_suffix(".json").write_text(json.dumps(seconds), "utf-8")


if __name__ == "__main__":
    main()
