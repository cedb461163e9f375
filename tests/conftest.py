"""Engines, lakes and projects for every test, and what happens where a part that a test needs is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("RUST_LOG", "error")
os.environ["GX_ANALYTICS_ENABLED"] = "false"

from lake.engine import Engine, open_engine
from lake.lake import Lake
from lake.spark_jars import jars, java
from schemas.errors import HuaxiangError

if TYPE_CHECKING:
    from tests.stores import Bucket, S3Server

ZONE = "Asia/Shanghai"
IN_CI = os.environ.get("CI", "").lower() == "true"

WITHOUT_COMPILING = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
"""Spark interprets expressions instead of compiling them: half the time on tables as small as those of tests."""

# Slow machines are no failures, and a failure must be the same on every machine.
_SAME_EVERYWHERE = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", _SAME_EVERYWHERE, max_examples=8)
settings.register_profile("thorough", _SAME_EVERYWHERE, max_examples=60)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "thorough"))


def missing(what: str) -> None:
    """Skip, saying what to do; under CI=true fail, so that nothing is left out unseen."""
    if IN_CI:
        pytest.fail(f"CI=true and {what}", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def spark_parts() -> None:
    """Spark, Java and Delta's jars are there."""
    try:
        import pyspark.core.context  # noqa: F401
    except ImportError:
        missing("the extra spark is not installed: make setup-spark")
    try:
        java()
        jars()
    except HuaxiangError as e:
        missing(str(e))


@pytest.fixture(scope="session")
def embedded() -> Iterator[Engine]:
    """The embedded engine, one for all tests."""
    with open_engine("embedded", memory_gb=2) as engine:
        yield engine


@pytest.fixture(scope="session")
def spark(spark_parts: None) -> Iterator[Engine]:
    """Local Spark with Delta, one for all tests. Tests that take it are marked ``spark``."""
    with open_engine("spark", memory_gb=2) as engine:
        for key, value in WITHOUT_COMPILING.items():
            engine.spark.conf.set(key, value)
        yield engine


@pytest.fixture(scope="session", params=["embedded", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Either engine: a test that takes it runs on both."""
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake in the shop's zone."""
    return Lake(tmp_path / "lake", ZONE)


LONGEST_FIRST = (
    "tests/cluster",
    "tests/pipeline/test_both_engines.py",
    "tests/store/test_pipeline_on_s3.py",
    "tests/airflow",
    "tests/pipeline",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes ``spark`` is marked so, or the quick lane would start a JVM.

    The longest files come first, the quick ones last, so that no worker waits for one long file at the end.
    """
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()) and item.get_closest_marker("spark") is None:
            item.add_marker("spark")

    def place(item: pytest.Item) -> int:
        found = (i for i, name in enumerate(LONGEST_FIRST) if item.nodeid.startswith(name))
        return next(found, len(LONGEST_FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server on the loopback, one for all tests that need it."""
    from tests.stores import S3Server

    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket of the test's own, without troubles; the environment has what leads to it."""
    made = s3_server.bucket()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.remove()
