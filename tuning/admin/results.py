"""Experiments and measurements."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from tuning import formatting
from tuning.admin.showing import (
    LARGE_OF_EXPERIMENT,
    LookOnly,
    OnlyOf,
    as_json,
    as_text,
    joined,
    list_link,
    page_link,
    seconds,
)
from tuning.models import Experiment, Measurement
from tuning.plain_text import plain_line
from tuning.templatetags.show import NOTHING, significant


class TaskOfExperiment(OnlyOf):
    title = "task number"
    parameter_name = "task"
    lookup = "task_id"


class TaskOfMeasurement(OnlyOf):
    title = "task number"
    parameter_name = "task"
    lookup = "experiment__task_id"


class ExperimentOfMeasurement(OnlyOf):
    title = "experiment id"
    parameter_name = "experiment"
    lookup = "experiment_id"


@admin.register(Experiment)
class ExperimentAdmin(LookOnly[Experiment]):
    list_display = [
        "__str__",
        "task_link",
        "status",
        "failure_kind",
        "value",
        "took",
        "started_at",
        "links",
        "flags",
    ]
    list_filter = [TaskOfExperiment, "status", "purpose", "failure_kind"]
    search_fields = ["task__name"]
    search_help_text = "Name or number of the task."
    task_lookup = "task_id"
    list_select_related = ["task"]
    ordering = ["-id"]
    not_listed = [
        *(field for field in LARGE_OF_EXPERIMENT if field != "parameters"),
        "task__spec",
        "task__description",
    ]
    fields = [
        "task_link",
        "number",
        "purpose",
        "original",
        "round",
        "status",
        "attempt",
        "fidelity",
        "lease_link",
        "links",
        "flags_as_json",
        "objective_value",
        "score",
        "num_requests",
        "num_failed_requests",
        "host",
        "verdicts",
        "failure_kind",
        "failure_message",
        "last_lines",
        "command_line",
        "surroundings",
        "created_at",
        "started_at",
        "finished_at",
        "deploy_s",
        "benchmark_s",
        "cleanup_s",
        "configuration_hash",
    ]

    def view_on_site(self, obj: Experiment) -> str:
        return reverse("experiment", args=[obj.pk])

    @admin.display(description="task", ordering="task_id")
    def task_link(self, experiment: Experiment) -> SafeString:
        return page_link(str(experiment.task), "admin:tuning_task_change", experiment.task_id)

    @admin.display(description="flags")
    def flags(self, experiment: Experiment) -> str:
        return formatting.flags(experiment.parameters)

    @admin.display(description="objective value", ordering="objective_value")
    def value(self, experiment: Experiment) -> str:
        return significant(experiment.objective_value)

    @admin.display(description="took")
    def took(self, experiment: Experiment) -> str:
        return seconds(experiment.duration_s)

    @admin.display(description="links")
    def links(self, experiment: Experiment) -> SafeString:
        return joined(
            [
                page_link("page", "experiment", experiment.pk),
                list_link("measurements", "measurement", experiment=experiment.pk),
                list_link("log of the task", "logchunk", task=experiment.task_id),
            ]
        )

    @admin.display(description="lease")
    def lease_link(self, experiment: Experiment) -> SafeString | str:
        if not hasattr(experiment, "lease"):
            return NOTHING
        return page_link(experiment.lease.owner, "admin:tuning_lease_change", experiment.pk)

    @admin.display(description="flags")
    def flags_as_json(self, experiment: Experiment) -> SafeString | str:
        return as_json(experiment.parameters)

    @admin.display(description="SLO verdicts")
    def verdicts(self, experiment: Experiment) -> SafeString | str:
        return as_json(experiment.slo_verdicts)

    @admin.display(description="last lines of the engine")
    def last_lines(self, experiment: Experiment) -> SafeString | str:
        return as_text([plain_line(line) for line in experiment.log_tail])

    @admin.display(description="command")
    def command_line(self, experiment: Experiment) -> SafeString | str:
        return as_text(experiment.command)

    @admin.display(description="environment")
    def surroundings(self, experiment: Experiment) -> SafeString | str:
        return as_json(experiment.environment)


@admin.register(Measurement)
class MeasurementAdmin(LookOnly[Measurement]):
    list_display = [
        "__str__",
        "experiment_link",
        "num_requests",
        "num_failed_requests",
        "took",
        "throughput",
        "created_at",
    ]
    list_filter = [TaskOfMeasurement, ExperimentOfMeasurement]
    search_fields = ["experiment__task__name"]
    search_help_text = "Name or number of the task."
    task_lookup = "experiment__task_id"
    list_select_related = ["experiment"]
    ordering = ["-id"]
    not_listed = [
        "raw",
        *(f"experiment__{field}" for field in LARGE_OF_EXPERIMENT),
    ]
    fields = [
        "experiment_link",
        "scenario",
        "concurrency",
        "repeat",
        "num_requests",
        "num_failed_requests",
        "duration_s",
        "created_at",
        "metrics_as_json",
        "raw_as_json",
    ]

    def view_on_site(self, obj: Measurement) -> str:
        return reverse("experiment", args=[obj.experiment_id])

    @admin.display(description="experiment", ordering="experiment_id")
    def experiment_link(self, measurement: Measurement) -> SafeString:
        return page_link(
            str(measurement.experiment),
            "admin:tuning_experiment_change",
            measurement.experiment_id,
        )

    @admin.display(description="took", ordering="duration_s")
    def took(self, measurement: Measurement) -> str:
        return seconds(measurement.duration_s)

    @admin.display(description="output throughput")
    def throughput(self, measurement: Measurement) -> str:
        name = "output_throughput_tokens_per_s"
        return formatting.metric(name, measurement.metrics.get(name))

    @admin.display(description="metrics")
    def metrics_as_json(self, measurement: Measurement) -> SafeString | str:
        return as_json(measurement.metrics)

    @admin.display(description="genai-bench's own summary")
    def raw_as_json(self, measurement: Measurement) -> SafeString | str:
        return as_json(measurement.raw)
