"""Container images: there already, or pulled with progress that people can follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.images import Image
from requests import RequestException

from controllers.base import DeploymentError
from tuning.domain.failures import FailureKind

REPORT_EVERY_S = 2.0
MIB = 1024 * 1024


def ensure_image(client: DockerClient, name: str, say: Callable[[str], None]) -> Image:
    """The image, pulled if it is not on this engine yet.

    Raises:
        DeploymentError: IMAGE_MISSING, when it is not to be had.
    """
    try:
        return client.images.get(name)
    except ImageNotFound:
        say(f"pulling {name}, which is not on this host yet")
    try:
        _pull(client, name, say)
        return client.images.get(name)
    except (DockerException, RequestException) as error:
        said = error.explanation if isinstance(error, APIError) else None
        raise DeploymentError(
            FailureKind.IMAGE_MISSING,
            f"The image {name} is not on this host and can't be pulled: "
            f"{' '.join(str(said or error).split())}",
        ) from error


def _pull(client: DockerClient, name: str, say: Callable[[str], None]) -> None:
    repository, _, tag = name.rpartition(":")
    events = client.api.pull(repository, tag=tag, stream=True, decode=True)
    for line in progress_lines(events, time.monotonic):
        say(line)
    say(f"pulled {name}")


def progress_lines(
    events: Iterable[Mapping[str, Any]], clock: Callable[[], float]
) -> Iterable[str]:
    """One line now and then for the many events of a pull: MiB so far, of those known of.

    Raises:
        APIError: the engine reports that the pull failed.
    """
    layers: dict[str, tuple[int, int]] = {}
    next_at = clock() + REPORT_EVERY_S
    for event in events:
        if "error" in event:
            raise APIError(str(event["error"]), explanation=str(event["error"]))
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            layers[str(event.get("id"))] = (int(detail["current"]), int(detail["total"]))
        if layers and clock() >= next_at:
            next_at = clock() + REPORT_EVERY_S
            done, total = (sum(part) / MIB for part in zip(*layers.values(), strict=True))
            yield f"pulled {done:,.0f} of {total:,.0f} MiB"
