"""Jars that Spark needs for Delta and for S3, and the Java that runs them: found, checked against pinned checksums, fetched once.

``python -m lake.spark_jars`` fetches what is missing into the user's cache folder. Nobody names a download host here:
Ivy, which comes with the pip Spark, resolves the pinned coordinates from Maven's central repository or from whatever
the machine's Java settings put before it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from schemas.errors import HuaxiangError, NotThereError

DELTA = Path(__file__).with_name("spark_jars.txt")
S3 = Path(__file__).with_name("s3_jars.txt")
OLDEST_JAVA = 17
REMEDY = "run `make setup-spark` (or `python -m lake.spark_jars`)"
_SETTINGS = """<ivysettings>
  <settings defaultResolver="central"/>
  <resolvers><ibiblio name="central" m2compatible="true" usepoms="false"/></resolvers>
</ivysettings>
"""


class Jar(NamedTuple):
    """One pinned jar."""

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def pinned(pins: Path) -> list[Jar]:
    """The jars that a file of pins lists."""
    lines = (line.split() for line in pins.read_text(encoding="ascii").splitlines() if not line.startswith("#"))
    return [Jar(sha, *coordinates.split(":")) for sha, coordinates in lines]


def cache_folder() -> Path:
    """Where jars are kept between checkouts: ``$XDG_CACHE_HOME/huaxiang/jars`` or ``~/.cache/huaxiang/jars``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "huaxiang" / "jars"


def java() -> str:
    """The ``java`` to run, from JAVA_HOME or the path; NotThereError where there is none of at least version 17."""
    return _java()[0]


def java_version() -> str:
    """Its whole version, such as ``17.0.15``; NotThereError as for ``java``."""
    return _java()[1]


@cache
def _java() -> tuple[str, str]:
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else shutil.which("java")
    needs = f"Spark needs Java {OLDEST_JAVA} or newer"
    remedy = "install one (Debian: apt-get install default-jre-headless) or set JAVA_HOME"
    if program is None or (home and not Path(program).exists()):
        raise NotThereError(f"{needs}, and there is no java {'in JAVA_HOME' if home else 'on the path'}: {remedy}")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', said)
    if found is None or int(found[2]) < OLDEST_JAVA:
        version = f"version {found[1]}" if found else "of a version that it does not tell"
        raise NotThereError(f"{needs}; {program} is {version}: {remedy}")
    return program, found[1]


def _problem(jar: Jar, folder: Path) -> str | None:
    path = folder / jar.file_name
    if not path.is_file():
        return f"{jar.file_name} is not in {folder}"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != jar.sha256:
        return f"{path} has checksum {digest}, expected {jar.sha256}; remove the file"
    return None


def jars(folder: Path | None = None, pins: Path = DELTA) -> list[Path]:
    """The jars of a file of pins, each checked against its checksum.

    NotThereError where one is missing; HuaxiangError where one is not the file that was pinned.
    """
    folder = folder or cache_folder()
    wanted = pinned(pins)
    missing = [j for j in wanted if not (folder / j.file_name).is_file()]
    if missing:
        names = ", ".join(j.file_name for j in missing)
        raise NotThereError(f"jars that Spark needs are not in {folder} ({names}): {REMEDY}")
    problems = [p for p in (_problem(j, folder) for j in wanted) if p]
    if problems:
        raise HuaxiangError("; ".join(problems) + f"; then {REMEDY}")
    return [folder / j.file_name for j in wanted]


def _ivy() -> Path:
    import pyspark

    found = sorted(Path(pyspark.__file__).parent.glob("jars/ivy-*.jar"))
    if not found:
        raise NotThereError("the installed pyspark has no jars: install the extra, pip install 'huaxiang[spark]'")
    return found[0]


def _ivy_file(wanted: list[Jar]) -> str:
    lines = "\n".join(
        f'    <dependency org="{j.group}" name="{j.artifact}" rev="{j.version}" transitive="false" conf="default"/>'
        for j in wanted
    )
    return f"""<ivy-module version="2.0">
  <info organisation="huaxiang" module="spark-jars"/>
  <configurations><conf name="default"/></configurations>
  <dependencies>
{lines}
  </dependencies>
</ivy-module>
"""


def fetch(folder: Path | None = None) -> list[Path]:
    """Brings missing jars into ``folder`` and gives all of them; a jar whose checksum differs never gets there."""
    folder = folder or cache_folder()
    wanted = [j for pins in (DELTA, S3) for j in pinned(pins) if _problem(j, folder)]
    if not wanted:
        return [*jars(folder), *jars(folder, S3)]
    folder.mkdir(parents=True, exist_ok=True)
    # An own Ivy cache: a shared one fails when another tool left a POM there without its jar.
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        (work / "settings.xml").write_text(_SETTINGS, encoding="utf-8")
        (work / "ivy.xml").write_text(_ivy_file(wanted), encoding="utf-8")
        command = [java(), "-cp", str(_ivy()), "org.apache.ivy.Main"]
        command += ["-settings", "settings.xml", "-ivy", "ivy.xml", "-cache", str(work / "ivy"), "-types", "jar"]
        command += ["-retrieve", str(work / "got" / "[artifact]-[revision].[ext]")]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        for jar in wanted:
            problem = _problem(jar, work / "got")
            if problem:
                tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
                raise HuaxiangError(f"could not fetch {jar.group}:{jar.artifact}:{jar.version}: {problem}\n{tail}")
            (work / "got" / jar.file_name).replace(folder / jar.file_name)
    return [*jars(folder), *jars(folder, S3)]


def main() -> int:
    """Fetches the jars; 0 when all are there, the error's own code otherwise."""
    try:
        found = fetch()
    except HuaxiangError as e:
        print(f"huaxiang: {e}", file=sys.stderr)
        return e.exit_code
    print(f"{len(found)} jars with the pinned checksums in {found[0].parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
