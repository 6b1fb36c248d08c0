"""The real servers that the tests start, where they are.

`.ci/with-kubernetes` brings them. Without them the tests are skipped, unless
AUTOTUNER_TESTS_MUST_RUN_CLUSTER is set.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

import pytest

MUST_RUN = "AUTOTUNER_TESTS_MUST_RUN_CLUSTER"
FOLDER = "AUTOTUNER_KUBERNETES_BIN"
"""The folder of Kubernetes' servers. Empty: behave as if there were none."""

_CACHE = Path.home() / ".cache" / "inference-autotuner-tests" / "kubernetes-1.20.2"


def skip(reason: str) -> NoReturn:
    """Skip a test that needs what is not here, where that may be so."""
    if os.environ.get(MUST_RUN):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class Binaries:
    """Kubernetes 1.20.2's servers, and etcd."""

    etcd: Path
    apiserver: Path
    controller_manager: Path
    scheduler: Path

    @classmethod
    def found(cls) -> Self:
        """Skips the test, with the reason, where one is missing or can't be used."""
        folder = os.environ.get(FOLDER, str(_CACHE))
        if not folder:
            skip(f"no Kubernetes servers: {FOLDER} is empty")
        names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        servers = [Path(folder, name) for name in names]
        etcd = shutil.which("etcd")
        missing = [str(path) for path in servers if not os.access(path, os.X_OK)]
        missing += [] if etcd else ["etcd"]
        if missing or etcd is None:
            skip(f"no Kubernetes servers here ({', '.join(missing)}): .ci/with-kubernetes has them")
        if os.geteuid() != 0:
            skip("pods get mounts of their own here, which only root may make")
        return cls(Path(etcd), *servers)
