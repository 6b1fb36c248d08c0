"""Who runs what at this moment: leases, GPUs and workers."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from tuning.admin.showing import LARGE_OF_EXPERIMENT, LookOnly, page_link
from tuning.models import GpuLease, Lease, WorkerHeartbeat


@admin.register(Lease)
class LeaseAdmin(LookOnly[Lease]):
    """The token is not shown: whoever knows it may record results in the holder's name."""

    list_display = ["experiment_link", "task_link", "owner", "acquired_at", "heartbeat_at"]
    search_fields = ["owner", "experiment__task__name"]
    search_help_text = "Host or process, or name of the task."
    list_select_related = ["experiment", "experiment__task"]
    ordering = ["-acquired_at"]
    not_listed = [
        *(f"experiment__{field}" for field in LARGE_OF_EXPERIMENT),
        "experiment__task__spec",
    ]
    fields = ["experiment_link", "task_link", "owner", "acquired_at", "heartbeat_at"]

    def view_on_site(self, obj: Lease) -> str:
        return reverse("experiment", args=[obj.pk])

    @admin.display(description="experiment", ordering="experiment_id")
    def experiment_link(self, lease: Lease) -> SafeString:
        return page_link(str(lease.experiment), "admin:tuning_experiment_change", lease.pk)

    @admin.display(description="task", ordering="experiment__task_id")
    def task_link(self, lease: Lease) -> SafeString:
        task = lease.experiment.task
        return page_link(str(task), "admin:tuning_task_change", task.pk)


@admin.register(GpuLease)
class GpuLeaseAdmin(LookOnly[GpuLease]):
    """One without an experiment is that of a dead worker, until its engine is removed."""

    list_display = ["__str__", "deployment_mode", "experiment_link"]
    list_filter = ["host", "deployment_mode"]
    search_fields = ["host"]
    search_help_text = "Host."
    list_select_related = ["lease", "lease__experiment"]
    not_listed = [f"lease__experiment__{field}" for field in LARGE_OF_EXPERIMENT]
    fields = ["host", "index", "deployment_mode", "experiment_link"]

    @admin.display(description="experiment", ordering="lease__experiment_id")
    def experiment_link(self, gpu: GpuLease) -> SafeString | None:
        if gpu.lease is None:
            return None
        return page_link(str(gpu.lease.experiment), "admin:tuning_experiment_change", gpu.lease.pk)


@admin.register(WorkerHeartbeat)
class WorkerAdmin(LookOnly[WorkerHeartbeat]):
    list_display = [
        "name",
        "host",
        "pid",
        "version",
        "concurrency",
        "gpus",
        "started_at",
        "heartbeat_at",
    ]
    list_filter = ["host", "version"]
    search_fields = ["name"]
    search_help_text = "Host, process number, or start time."
    fields = ["name", "host", "pid", "version", "concurrency", "gpus", "started_at", "heartbeat_at"]
