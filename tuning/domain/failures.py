"""Why an experiment failed, and what a user can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """The cause of a failed experiment, as stored in the database and the API."""

    OUT_OF_MEMORY = "out_of_memory"
    BAD_FLAG = "bad_flag"
    ENGINE_MISSING = "engine_missing"
    IMAGE_MISSING = "image_missing"
    MODEL_MISSING = "model_missing"
    ACCELERATOR_MISSING = "accelerator_missing"
    TOO_FEW_GPUS = "too_few_gpus"
    FORBIDDEN = "forbidden"
    INVALID_SPEC = "invalid_spec"
    CLUSTER_UNAVAILABLE = "cluster_unavailable"
    PORT_TAKEN = "port_taken"
    STARTUP_TIMEOUT = "startup_timeout"
    CRASHED = "crashed"
    BENCHMARK_FAILED = "benchmark_failed"
    BENCHMARK_TIMEOUT = "benchmark_timeout"
    SLO_VIOLATED = "slo_violated"
    LOST_WORKER = "lost_worker"
    INTERNAL_ERROR = "internal_error"

    @property
    def is_infrastructure_fault(self) -> bool:
        """True when the configuration is not to blame, so that another attempt may succeed.

        A configuration that fails by itself is launched once and never again.
        """
        return self in _INFRASTRUCTURE_FAULTS


_INFRASTRUCTURE_FAULTS = frozenset(
    {FailureKind.PORT_TAKEN, FailureKind.LOST_WORKER, FailureKind.CLUSTER_UNAVAILABLE}
)

_HINTS: dict[FailureKind, str] = {
    FailureKind.OUT_OF_MEMORY: (
        "There is too little memory. Lower the memory share, context length or batch size, "
        "or spread the model over more GPUs."
    ),
    FailureKind.BAD_FLAG: (
        "The engine refused a flag or its value. Compare the name and the value with the "
        "engine's own --help for this version."
    ),
    FailureKind.ENGINE_MISSING: (
        "The engine is not installed on this host. Install it, name its binary in the settings, "
        "or choose another deployment_mode."
    ),
    FailureKind.IMAGE_MISSING: (
        "The container image is neither on this host nor to be pulled. Check runtime_image_tag."
    ),
    FailureKind.MODEL_MISSING: (
        "The model could not be found. Check model.id_or_path and the model directory "
        "(--model-path or AUTOTUNER_MODEL_PATH)."
    ),
    FailureKind.ACCELERATOR_MISSING: (
        "The host has no GPU that containers may use. Install the NVIDIA Container Toolkit, and "
        "see whether `docker run --gpus all … nvidia-smi` works."
    ),
    FailureKind.TOO_FEW_GPUS: (
        "The configuration takes more GPUs than there are on any one host. Lower its tensor, "
        "pipeline or data parallelism, or keep it out by a constraint such as `tp-size <= 4`."
    ),
    FailureKind.FORBIDDEN: (
        "The cluster does not let the autotuner do this. docs/ome-rbac.yaml has all the rights "
        "that it needs; `manage.py doctor` says which are missing."
    ),
    FailureKind.INVALID_SPEC: (
        "The cluster refuses an object as it is. The message has its own words; look at the "
        "runtime, the model and the namespace that the task names."
    ),
    FailureKind.CLUSTER_UNAVAILABLE: (
        "The cluster's API server did not answer. `manage.py doctor` says which one is asked; "
        "resume the task once it is back."
    ),
    FailureKind.PORT_TAKEN: (
        "No free port was left, or another program took it. Free one of 8000-8100 and try again."
    ),
    FailureKind.STARTUP_TIMEOUT: (
        "The engine did not get healthy in time. Raise optimization.timeout_per_iteration, "
        "or look in the log for what it was waiting for."
    ),
    FailureKind.CRASHED: "The engine stopped by itself. Its last log lines say why.",
    FailureKind.BENCHMARK_FAILED: (
        "genai-bench did not deliver a result for every load point. Its lines in the task's log "
        "say why; docs/GENAI_BENCH_LOGS.md explains them."
    ),
    FailureKind.BENCHMARK_TIMEOUT: (
        "Measuring took longer than optimization.timeout_per_iteration. Raise it, or measure "
        "fewer load points or requests."
    ),
    FailureKind.SLO_VIOLATED: (
        "The configuration was measured and breaks a hard SLO, so it can't be the best one."
    ),
    FailureKind.LOST_WORKER: (
        "The worker that ran this experiment stopped answering; nothing is known of the "
        "configuration itself."
    ),
    FailureKind.INTERNAL_ERROR: (
        "The autotuner itself failed. Please report it with the task's log."
    ),
}


@dataclass(frozen=True)
class Failure:
    """One failure: its kind, what happened in one sentence, and what to do about it."""

    kind: FailureKind
    message: str

    @property
    def hint(self) -> str:
        return _HINTS[self.kind]

    def as_document(self) -> dict[str, str]:
        return {"kind": self.kind.value, "message": self.message, "hint": self.hint}
