"""Following what a container of a pod prints, until it has ended: no line twice, none lost.

Each line is asked for with its timestamp. A connection that broke is made again from shortly before
the last line (the API server passes whole seconds on to the kubelet), and what was there already is
left out by counting equal lines: two may well be equal to the nanosecond and the letter, and those
of a container's two outputs need not be in the order of their timestamps.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.cluster.connection import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, sentence
from controllers.cluster.objects import POD
from controllers.process_output import KEPT_LINES, LineAssembler

LOOK_AGAIN_S = 0.3
LOOKS_AFTER_THE_END = 5
"""A kubelet may have dropped the log of a container that is gone."""
FORBIDDEN = 403
NOT_FOUND = 404
QUIET_S = 60.0
"""After this long without a line the connection is made anew: it may be dead without a word."""
SECOND = timedelta(seconds=1)

_STAMPED = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d) ?")
"""RFC 3339, as the kubelet puts it in front of a line."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContainerRun:
    """One life of a container: `restarts` counts those before it."""

    pod: str
    container: str
    restarts: int


class PodLog:
    """Reads the log of one life of a container, line by line, in a thread of its own.

    `restarts_now` tells how often the container has been restarted by now, and `has_ended` whether
    the life that is followed is over; both are asked from the thread.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        run: ContainerRun,
        sink: Callable[[str], None],
        has_ended: Callable[[], bool],
        restarts_now: Callable[[], int],
    ) -> None:
        self.run = run
        self._client = client
        self._path = f"{POD.path(namespace, run.pod)}/log"
        self._sink = sink
        self._assembler = LineAssembler(sink)
        self._has_told_of_a_refusal = False
        self._has_ended = has_ended
        self._restarts_now = restarts_now
        self._seen = SeenLines()
        self._closed = threading.Event()
        self._response: urllib3.BaseHTTPResponse | None = None
        self._thread = threading.Thread(target=self._follow, name=f"log {run.pod}", daemon=True)
        self._thread.start()

    def lines(self, count: int = KEPT_LINES) -> list[str]:
        """The last `count` lines, oldest first."""
        return self._assembler.lines(count)

    def join(self, timeout_s: float) -> None:
        """Wait until everything has been read."""
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Read no more. Calling it twice is no error."""
        self._closed.set()
        response = self._response
        if response is not None:
            # Its reader is waiting for more in the other thread; this wakes it.
            with suppress(Exception):
                response.shutdown()

    # --- The thread ---

    def _follow(self) -> None:
        looks_after_the_end = 0
        while not self._closed.is_set() and looks_after_the_end < LOOKS_AFTER_THE_END:
            # Asked first: what is read after the end is all there is.
            has_ended = self._has_ended()
            looks_after_the_end += has_ended
            try:
                self._read(previous=self._restarts_now() > self.run.restarts)
                if has_ended:
                    break
            except ApiException as error:
                if error.status == NOT_FOUND:
                    break
                if error.status == FORBIDDEN:
                    self._tell_once(sentence(error, "read the engine's log"))
                logger.debug("no log of %s: %s %s", self.run.pod, error.status, error.body)
            except Exception as error:
                if not self._closed.is_set():
                    logger.debug("log of %s broke off: %s", self.run.pod, error)
            self._closed.wait(LOOK_AGAIN_S)
        self._assembler.end()

    def _tell_once(self, refusal: str) -> None:
        """In the log, in the place of the lines that will be missing there."""
        if not self._has_told_of_a_refusal:
            self._has_told_of_a_refusal = True
            self._sink(refusal)

    def _read(self, *, previous: bool) -> None:
        self._response = response = self._open(previous)
        self._seen.begin_anew()
        rest = b""
        try:
            if self._closed.is_set():
                return
            for chunk in response.stream(amt=None, decode_content=True):
                *complete, rest = (rest + chunk).split(b"\n")
                for line in complete:
                    self._take(line)
        finally:
            self._response = None
            response.close()
            response.release_conn()
        # Only after a proper end: what a broken connection leaves is half a line, and comes again.
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        text = self._seen.news(line)
        if text is not None:
            self._assembler.feed(text + b"\n")

    def _open(self, previous: bool) -> urllib3.BaseHTTPResponse:
        query = [("container", self.run.container), ("timestamps", "true")]
        query.append(("previous", "true") if previous else ("follow", "true"))
        since = self._seen.resume_from
        if since is not None:
            query.append(("sinceTime", since))
        response: urllib3.BaseHTTPResponse = self._client.call_api(
            self._path,
            "GET",
            query_params=query,
            header_params={"Accept": "text/plain, */*"},
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S if previous else QUIET_S),
        )
        return response


class SeenLines:
    """Which stamped lines have been passed on already, as far as they can come again."""

    def __init__(self) -> None:
        self._second = b""
        self._newest: datetime | None = None
        self._of_newest: Counter[bytes] = Counter()
        self._of_the_one_before: Counter[bytes] = Counter()
        self._expected: Counter[bytes] = Counter()

    @property
    def resume_from(self) -> str | None:
        """A time in whole seconds, as `sinceTime` wants it; None before the first line."""
        if self._newest is None:
            return None
        return (self._newest - SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")

    def begin_anew(self) -> None:
        """The lines since `resume_from` are about to come once more."""
        self._expected = self._of_newest + self._of_the_one_before

    def news(self, line: bytes) -> bytes | None:
        """The text of a stamped line, or None when it was there before."""
        if self._expected[line] > 0:
            self._expected[line] -= 1
            return None
        stamp = _STAMPED.match(line)
        if stamp is None:
            # What the kubelet says by itself, as where it can't read a log.
            return line
        if stamp[1] != self._second:
            self._turn_to(stamp[1], stamp[2])
        self._of_newest[line] += 1
        return line[stamp.end() :]

    def _turn_to(self, second: bytes, zone: bytes) -> None:
        time = datetime.fromisoformat((second + zone).decode()).astimezone(UTC)
        if self._newest is not None and time <= self._newest:
            return
        follows = self._newest is not None and time - self._newest == SECOND
        self._of_the_one_before = self._of_newest if follows else Counter()
        self._second, self._newest, self._of_newest = second, time, Counter()
