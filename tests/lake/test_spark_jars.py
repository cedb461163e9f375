"""Jars for Delta and S3: pinned, checked, never taken on trust. No network here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lake import spark_jars
from lake.spark_jars import DELTA, S3, Jar, jars, pinned
from schemas.errors import HuaxiangError, NotThereError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two jars that are what their pins say."""
    made = []
    for name in ("delta", "storage"):
        content = f"content of {name}".encode()
        jar = Jar(hashlib.sha256(content).hexdigest(), "io.delta", name, "4.4.0")
        (tmp_path / jar.file_name).write_bytes(content)
        made.append(jar)
    monkeypatch.setattr(spark_jars, "pinned", lambda pins: made)
    return tmp_path


def test_jars_are_pinned_with_whole_checksums() -> None:
    assert len(pinned(DELTA)) == 7
    assert {j.group for j in pinned(DELTA)} == {"io.delta", "io.unitycatalog"}
    every = [*pinned(DELTA), *pinned(S3)]
    assert all(len(j.sha256) == 64 for j in every)
    assert len({j.file_name for j in every}) == len(every)


def test_what_s3_needs_is_of_the_hadoop_that_spark_brings_and_no_bundle() -> None:
    pyspark = pytest.importorskip("pyspark")
    (hadoop,) = (j for j in pinned(S3) if j.artifact == "hadoop-aws")
    brought = Path(pyspark.__file__).parent / "jars"
    if not brought.is_dir():
        pytest.skip("the extra spark is not installed")
    assert (brought / f"hadoop-client-api-{hadoop.version}.jar").is_file()
    assert "bundle" not in {j.artifact for j in pinned(S3)}


def test_jars_that_are_what_was_pinned_are_given_in_order(folder: Path) -> None:
    assert jars(folder) == [folder / "delta-4.4.0.jar", folder / "storage-4.4.0.jar"]


def test_a_missing_jar_is_named_with_the_remedy(folder: Path) -> None:
    (folder / "storage-4.4.0.jar").unlink()
    with pytest.raises(NotThereError, match=r"storage-4\.4\.0\.jar.*make setup-spark"):
        jars(folder)


def test_a_tampered_jar_is_refused(folder: Path) -> None:
    (folder / "delta-4.4.0.jar").write_bytes(b"something else")
    with pytest.raises(HuaxiangError, match=r"delta-4\.4\.0\.jar has checksum .* expected .* remove the file"):
        jars(folder)


@pytest.mark.parametrize("said", ['openjdk version "11.0.2" 2019', 'java version "1.8.0_392"', "nothing of a version"])
def test_an_old_java_is_refused_with_the_remedy(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    spark_jars._java.cache_clear()
    try:
        with pytest.raises(NotThereError, match=r"Spark needs Java 17 or newer.*default-jre-headless"):
            spark_jars.java()
    finally:
        spark_jars._java.cache_clear()


@pytest.mark.parametrize(
    "said", ['openjdk version "17.0.15" 2025', 'openjdk version "21" 2023', 'Picked up: x\nopenjdk version "25.0.1"']
)
def test_a_new_java_is_taken(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat >&2 <<E\n{said}\nE\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    spark_jars._java.cache_clear()
    try:
        assert spark_jars.java() == str(program)
    finally:
        spark_jars._java.cache_clear()


def test_java_home_without_java_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    spark_jars._java.cache_clear()
    try:
        with pytest.raises(NotThereError, match="no java in JAVA_HOME"):
            spark_jars.java()
    finally:
        spark_jars._java.cache_clear()
