"""An experiment as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field, field_validator

from tuning.documents.document import Document, Moment
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentPurpose, ExperimentStatus
from tuning.domain.measuring.course import EndKind
from tuning.domain.names import FlagValue
from tuning.models import Experiment


class FailureDocument(Document):
    """Why an experiment failed."""

    kind: FailureKind
    message: str = Field(description="What happened, in one sentence.")
    hint: str = Field(description="What to do about it.")


class LoggedFailure(FailureDocument):
    """Why an experiment failed, with the engine's last words."""

    log_tail: list[str] = Field(description="The last lines that the engine wrote.")


class VerdictDocument(Document):
    """Whether one SLO holds, as the worst load point shows it."""

    metric: str = Field(description="A metric's name; its ending is its unit.")
    limit: str = Field(description="The limit in words, with its unit.")
    place: str | None = Field(description="The worst load point; null when none was measured.")
    actual: float | None = Field(description="The metric there, in its own unit.")
    is_met: bool
    breaks_hard_limit: bool = Field(description="Whether this rules the configuration out.")
    violation_ratio: float | None = Field(
        description="How far the limit is broken, 0.2 for 20 %; null when it holds, or when the "
        "ratio is not finite."
    )
    penalty: float = Field(description="What it adds to the factor by which the score gets worse.")


class MeasurementDocument(Document):
    """What one traffic scenario at one concurrency gave."""

    scenario: str = Field(description="The traffic scenario, e.g. `D(512,128)`.")
    concurrency: int = Field(description="Requests under way at the same time.")
    repeat: int = Field(description="Counts the repeats of a load point, from 0.")
    num_requests: int
    num_failed_requests: int
    duration_s: float = Field(description="Seconds that the load point took.")
    cache_flush: str = Field(
        description="Whether the engine's prefix cache was emptied before: `whole`, `partly` or "
        "`not`; empty where nobody can tell."
    )
    metrics: dict[str, float] = Field(
        description="By name; the ending is the unit: `_s` seconds, `_tokens_per_s`, `_per_s`."
    )


class SkippedLoad(Document):
    """A load that was not measured."""

    scenario: str
    concurrency: int


class EarlyEndDocument(Document):
    """Why not everything was measured."""

    kind: EndKind = Field(
        description="`pruned`: it could hardly become the best one. `slo_broken`: a hard limit was "
        "broken. `enough`: the rest would not change its value."
    )
    reason: str = Field(description="In a sentence, with numbers.")
    skipped: list[SkippedLoad]
    numbers: dict[str, float] = Field(
        description="Of a pruned one: `chance` to become the best, at most; `score_bound`, which "
        "its score would hardly have been better than; `best_score` and `best_experiment`."
    )


class ExperimentDocument(Document):
    """One configuration of the engine, and how it did."""

    experiment_id: int = Field(validation_alias=AliasChoices("pk", "experiment_id"))
    task_id: int
    number: int = Field(description="Counts the experiments of the task; 0 is the baseline.")
    is_baseline: bool = Field(description="Whether none of the tuned flags is set.")
    purpose: ExperimentPurpose = Field(
        description="`search` and `baseline` try a configuration; `repeat` and `verification` "
        "launch one again."
    )
    original_id: int | None = Field(
        description="`experiment_id` of the one whose configuration is launched again."
    )
    round: int | None = Field(description="Counts the further launches of the original, from 1.")
    status: ExperimentStatus
    attempt: int = Field(description="How often it was launched; 0 before the first launch.")
    parameters: dict[str, FlagValue] = Field(description="The engine's flags, without dashes.")
    objective_value: float | None = Field(
        description="The first objective's metric in its own unit; null until it is measured."
    )
    objective_values: dict[str, float] = Field(
        description="Of every objective, by metric; empty until they are measured."
    )
    num_requests: int = Field(description="Of all its measurements, once it has ended.")
    num_failed_requests: int = Field(
        description="Of these; with any, take the objective's value with care."
    )
    score: float | None = Field(
        description="The objective's value after the penalties of soft SLOs; only experiments "
        "with the status SUCCESS can be compared by it."
    )
    failure: FailureDocument | None = Field(description="Set exactly when the status is FAILED.")
    early_end: EarlyEndDocument | None = Field(
        description="Why not everything was measured; null when it was."
    )
    started_at: Moment | None
    finished_at: Moment | None
    deploy_s: float | None = Field(description="Seconds from the launch to a healthy engine.")
    benchmark_s: float | None = Field(description="Seconds for the warm-up and all load points.")
    cleanup_s: float | None = Field(description="Seconds for stopping the engine.")

    @field_validator("early_end", mode="before")
    @classmethod
    def _none_if_complete(cls, stored: object) -> object:
        return stored or None


class ExperimentDetail(ExperimentDocument):
    """An experiment with all that was measured, and all it takes to repeat it."""

    failure: LoggedFailure | None = Field(description="Set exactly when the status is FAILED.")
    slo_verdicts: list[VerdictDocument]
    command: list[str] = Field(description="The exact command line of the engine.")
    environment: dict[str, Any] = Field(description="Versions and hardware that it ran with.")
    measurements: list[MeasurementDocument]


def experiment_detail(experiment: Experiment) -> ExperimentDetail:
    """One query for the measurements, unless they were prefetched."""
    brief = ExperimentDocument.model_validate(experiment)
    failure = brief.failure
    return ExperimentDetail(
        **dict(brief)
        | {"failure": failure and LoggedFailure(**dict(failure), log_tail=experiment.log_tail)},
        slo_verdicts=[VerdictDocument.model_validate(one) for one in experiment.slo_verdicts],
        command=experiment.command,
        environment=experiment.environment,
        measurements=[
            MeasurementDocument.model_validate(one) for one in experiment.measurements.all()
        ],
    )
