"""Whether an engine on loopback is healthy, and what is said of one that nobody launched here."""

from __future__ import annotations

import httpx

from controllers.base import Deployment
from tuning.domain.failures import Failure, FailureKind

HEALTH_TIMEOUT_S = 1.0


class HealthProbe:
    """Asks engines for their health. May be used from several threads."""

    def __init__(self) -> None:
        # No proxy for loopback, and no connection kept: the next engine may get the same port.
        self._http = httpx.Client(
            timeout=HEALTH_TIMEOUT_S,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def is_healthy(self, deployment: Deployment, health_path: str) -> bool:
        try:
            answer = self._http.get(f"{deployment.base_url}{health_path}")
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK


def not_launched_here(deployment: Deployment) -> Failure:
    return Failure(
        FailureKind.CRASHED,
        f"No engine {deployment.identity.name} was launched by this process, "
        "or it has been deleted.",
    )
