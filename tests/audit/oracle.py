"""Great Expectations asked of a frame itself, an expectation at a time: what the statement is held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lake.expectations import great_expectations
from schemas.contracts import Contract
from schemas.suite import Expectation

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def broken(c: Contract, expectations: Sequence[Expectation], frame: DataFrame) -> list[tuple[str, str, str]]:
    """Level, what is expected and what was seen instead, without values, of every expectation that does not hold."""
    gx = great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_spark("staged", persist=False)
    source.get_execution_engine().spark = frame.sparkSession
    definition = source.add_dataframe_asset("staged").add_batch_definition_whole_dataframe("staged")
    batch = definition.get_batch(batch_parameters={"dataframe": frame})
    result = batch.validate(_gx_suite(gx, c, expectations), result_format="SUMMARY")
    failed = [one for one in result.results if not one.success]
    said = [(expectations[one.expectation_config.meta["position"]], _observed(one)) for one in failed]
    return sorted((e.level, e.says, seen.split(" (")[0]) for e, seen in said)


def _gx_suite(gx: Any, c: Contract, expectations: Sequence[Expectation]) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    made = gx.ExpectationSuite(name=c.name)
    for position, e in enumerate(expectations):
        made.expectations.append(
            ExpectationConfiguration(
                type=e.type,
                kwargs=e.kwargs,
                severity="critical" if e.level == "fail" else "warning",
                description=e.says,
                meta={"position": position, "level": e.level},
            ).to_domain_obj()
        )
    return made


def _observed(result: Any) -> str:
    """What was seen instead, in words."""
    if result.exception_info.get("raised_exception"):
        return f"could not be judged: {result.exception_info['exception_message']}"
    seen = result.result
    if "unexpected_count" in seen:
        text = f"{seen['unexpected_count']:,} of {seen['element_count']:,} rows break it"
        samples = [str(v) for v in seen.get("partial_unexpected_list", ())]
        return text + (f" ({', '.join(samples)})" if samples else "")
    if "details" in seen and "mismatched" in seen["details"]:
        return "; ".join(f"{k} {', '.join(v)}" for k, v in seen["details"]["mismatched"].items())
    return f"{seen.get('observed_value')} seen"
