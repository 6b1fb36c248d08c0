"""Container images: there already, or pulled with progress that people can follow."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.images import Image
from requests import RequestException

from controllers.base import DeploymentError
from tuning.domain.failures import FailureKind

REPORT_EVERY_S = 2.0
TICK_S = 0.5
MIB = 1024 * 1024

Event = Mapping[str, Any]


def ensure_image(
    client: DockerClient,
    name: str,
    say: Callable[[str], None],
    tick: Callable[[], None] = lambda: None,
) -> Image:
    """The image, pulled if it is not on this engine yet, however long that takes.

    `tick` is called at least every `TICK_S` meanwhile; what it raises ends the wait.

    Raises:
        DeploymentError: IMAGE_MISSING, when it is not to be had.
    """
    try:
        return client.images.get(name)
    except ImageNotFound:
        say(f"pulling {name}, which is not on this host yet")
    except APIError as error:
        # A name that Docker can't read, such as a tag with a space in it.
        raise _missing(f"Docker refuses the image {name}", error) from error
    try:
        _pull(client, name, say, tick)
        return client.images.get(name)
    except (DockerException, RequestException) as error:
        raise _missing(
            f"The image {name} is not on this host and can't be pulled", error
        ) from error


def _missing(what: str, error: Exception) -> DeploymentError:
    said = error.explanation if isinstance(error, APIError) else None
    return DeploymentError(
        FailureKind.IMAGE_MISSING, f"{what}: {' '.join(str(said or error).split())}"
    )


def _pull(
    client: DockerClient, name: str, say: Callable[[str], None], tick: Callable[[], None]
) -> None:
    repository, _, tag = name.rpartition(":")
    for line in progress_lines(_pull_events(client, repository, tag, tick), time.monotonic):
        say(line)
    say(f"pulled {name}")


def _pull_events(
    client: DockerClient, repository: str, tag: str, tick: Callable[[], None]
) -> Iterator[Event]:
    """What the engine tells of a pull. It may be silent for minutes, so a thread listens to it;
    left alone, that ends with the pull, which Docker finishes for the next one who asks."""
    told: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()

    def listen() -> None:
        try:
            for event in client.api.pull(repository, tag=tag, stream=True, decode=True):
                told.put(event)
            told.put(None)
        except Exception as error:
            told.put(error)

    threading.Thread(target=listen, name=f"pull {repository}:{tag}", daemon=True).start()
    while True:
        tick()
        try:
            event = told.get(timeout=TICK_S)
        except queue.Empty:
            continue
        if event is None:
            return
        if isinstance(event, Exception):
            raise event
        yield event


def progress_lines(events: Iterable[Event], clock: Callable[[], float]) -> Iterator[str]:
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
