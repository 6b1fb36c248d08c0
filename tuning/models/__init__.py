"""What the database holds. It is the truth: every process may die at any moment."""

from tuning.models.api_token import ApiToken
from tuning.models.experiment import Experiment
from tuning.models.gpu_lease import GpuLease
from tuning.models.lease import Lease
from tuning.models.log_chunk import LogChunk
from tuning.models.measurement import Measurement
from tuning.models.task import Task
from tuning.models.worker import WorkerHeartbeat

__all__ = [
    "ApiToken",
    "Experiment",
    "GpuLease",
    "Lease",
    "LogChunk",
    "Measurement",
    "Task",
    "WorkerHeartbeat",
]
