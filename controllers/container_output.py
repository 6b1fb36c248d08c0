"""Following what a container prints, until it has ended, and how it ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from requests import RequestException

from controllers.process_output import KEPT_LINES, LineAssembler

LOOK_AGAIN_S = 0.5
ENGINE_AWAY_S = 10.0
"""How long a Docker engine may be away: one that is upgraded is back within seconds."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExitFacts:
    """How a container ended. `exit_code` is None when somebody else removed it, and when nobody
    knows, since the Docker engine itself has been away for `ENGINE_AWAY_S`."""

    exit_code: int | None
    out_of_memory: bool = False
    docker_is_away: bool = False


class ContainerOutput:
    """Reads a started container's log in a thread of its own, line by line, both streams.

    A connection that breaks is made again from where it broke; Docker gives whole seconds for
    that, so that lines of one second may come twice.
    """

    def __init__(self, container: Container, sink: Callable[[str], None]) -> None:
        self._container = container
        self._assembler = LineAssembler(sink)
        self._exit_facts: ExitFacts | None = None
        self._away_since: float | None = None
        self._thread = threading.Thread(
            target=self._follow, name=f"log {container.name}", daemon=True
        )
        self._thread.start()

    @property
    def exit_facts(self) -> ExitFacts | None:
        """How it ended, or None while it runs. Asks nobody."""
        return self._exit_facts

    def lines(self, count: int = KEPT_LINES) -> list[str]:
        """The last `count` lines, oldest first."""
        return self._assembler.lines(count)

    def join(self, timeout_s: float) -> None:
        """Wait until everything has been read."""
        self._thread.join(timeout_s)

    def _follow(self) -> None:
        since: int | None = None
        while self._exit_facts is None:
            try:
                for chunk in self._container.logs(stream=True, follow=True, since=since):
                    self._assembler.feed(chunk)
            except Exception as error:
                # A broken stream shows as an error of any of four libraries. Were this thread to
                # end by it, nobody would ever notice that the container has ended.
                if self._away_since is None:
                    logger.warning("log of %s broke off: %s", self._container.name, error)
            since = int(time.time())
            self._exit_facts = self._look()
            if self._exit_facts is None:
                time.sleep(LOOK_AGAIN_S)
        self._assembler.end()

    def _look(self) -> ExitFacts | None:
        try:
            self._container.reload()
        except NotFound:
            return ExitFacts(None)
        except (DockerException, RequestException, OSError):
            return self._without_docker()
        self._away_since = None
        state = self._container.attrs["State"]
        if state["Status"] not in {"exited", "dead"}:
            return None
        return ExitFacts(int(state["ExitCode"]), out_of_memory=bool(state.get("OOMKilled")))

    def _without_docker(self) -> ExitFacts | None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        is_lost = now - self._away_since >= ENGINE_AWAY_S
        return ExitFacts(None, docker_is_away=True) if is_lost else None
