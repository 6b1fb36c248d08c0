"""What can't be measured of a task as it says, before anything is launched."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from controllers.cluster.job_limits import job_limits
from tuning.domain.spec import Problem, TaskSpec


@dataclass(frozen=True)
class MeasuringFindings:
    """`problems` keep the task from being measured; with `warnings` it is, but not quite as it
    was written."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def measuring_findings(spec: TaskSpec) -> MeasuringFindings:
    """The limits of BenchmarkJobs; whatever is measured from here has none."""
    if not spec.is_measured_by_jobs:
        return MeasuringFindings()
    limits = job_limits(
        engine=spec.base_runtime,
        model_name=spec.served_model_name,
        tokenizer=spec.benchmark.model_tokenizer,
        additional_params=spec.benchmark.additional_params,
        api_key=settings.AUTOTUNER_BENCHMARK_API_KEY,
    )
    return MeasuringFindings(
        tuple(Problem(tuple(one.field.split(".")), one.sentence) for one in limits if one.refuses),
        tuple(f"{one.field} {one.sentence}" for one in limits if not one.refuses),
    )
