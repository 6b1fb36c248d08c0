"""What an installation says of its cluster. Plain values; nothing here asks the cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
"""The variable that every container of a cluster has."""
TEMPLATES_DIR = Path(__file__).resolve().parents[2] / "templates" / "ome"


class ModelSource(StrEnum):
    """Where OME gets the weights of a model that the cluster does not know yet."""

    HUB = "hub"
    """Hugging Face: OME's agent downloads them to the nodes."""
    CLAIM = "pvc"
    """A PersistentVolumeClaim that is mounted into the engine's pod."""


@dataclass(frozen=True)
class ModelStorage:
    """How a task's hub id becomes a BaseModel in the task's namespace.

    `claim` names a PersistentVolumeClaim of that namespace, and `folder` the directory in it below
    which models lie under their hub ids. `directory` is where OME's agent puts what it downloads
    on a node; every model gets a directory of its own below. `secret` holds the hub's token under
    the key `token`.
    """

    source: ModelSource = ModelSource.HUB
    claim: str | None = None
    folder: str = ""
    directory: str = "/mnt/data/models"
    secret: str | None = None

    def __post_init__(self) -> None:
        if self.source is ModelSource.CLAIM and not self.claim:
            raise ValueError(
                "claim: the models lie on a PersistentVolumeClaim, so that one has to be named."
            )


@dataclass(frozen=True)
class ClusterSettings:
    """`kubeconfig` is a path; None stands for KUBECONFIG, else ~/.kube/config, else the service
    account of the pod that this process runs in. `context` is one of its contexts; None its own.

    `node_selector` and `tolerations` are given to every pod of an engine and of a benchmark.
    `pending_timeout_s` is how long an engine may wait for room in the cluster. `create_namespace`
    makes a task's namespace where it is missing. `model_storage` makes a BaseModel of a model that
    the cluster does not know yet; without it, only known models are served. `reader_image` has
    `tar` and `sh`: it reads the results of a BenchmarkJob from its volume. `benchmark_image` takes
    the place of OME's own image of genai-bench.
    """

    templates_dir: Path = TEMPLATES_DIR
    kubeconfig: str | None = None
    context: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    pending_timeout_s: float = 1800.0
    create_namespace: bool = True
    model_storage: ModelStorage | None = None
    reader_image: str = "busybox:1.36"
    benchmark_image: str | None = None


def is_configured(settings: ClusterSettings) -> bool:
    """Whether there is any word of a cluster on this host; asks none, and costs nothing."""
    return settings.kubeconfig is not None or has_default_kubeconfig() or IN_CLUSTER in os.environ


def has_default_kubeconfig() -> bool:
    """Whether KUBECONFIG is set, or else ~/.kube/config is there."""
    return bool(os.environ.get("KUBECONFIG")) or Path("~/.kube/config").expanduser().is_file()
