"""Objects of a cluster as they are now, by list and watch: nothing is asked twice.

A watch goes on from the last version seen, also over a connection that broke. Where the API server
has forgotten that version (410 Gone), everything is listed anew; what is not in the list is gone.
Source: "Efficient detection of changes" in Kubernetes' API concepts.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.cluster.connection import CONNECT_TIMEOUT_S
from controllers.cluster.objects import Document, ObjectKind

WATCH_S = 30
"""How long one request watches; the next goes on where it ended. A connection that died without a
word is found out after that."""
OVERDUE_S = 10
PAUSES_S = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Before another try, while the API server does not answer."""
GONE = 410

logger = logging.getLogger(__name__)


class Expired(Exception):
    """The version from which to watch is forgotten."""


def _keep_all(document: Document) -> bool:
    return True


class ObjectWatch:
    """Follows objects of one kind in a thread of its own, until it is closed.

    `labels` and `fields` are selectors; `keep` chooses among what they let through. `on_change` is
    called from the thread after each change.
    """

    def __init__(
        self,
        client: ApiClient,
        kind: ObjectKind,
        namespace: str,
        on_change: Callable[[], None],
        *,
        labels: str = "",
        fields: str = "",
        keep: Callable[[Document], bool] = _keep_all,
    ) -> None:
        self._client = client
        self._kind = kind
        self._path = kind.path(namespace)
        self._selectors = [
            (name, text)
            for name, text in (("labelSelector", labels), ("fieldSelector", fields))
            if text
        ]
        self._keep = keep
        self._on_change = on_change
        self._objects: dict[str, Document] = {}
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._listed = threading.Event()
        self._response: urllib3.BaseHTTPResponse | None = None
        self._version: str | None = None
        self._silent_since: float | None = None
        self._refusal: ApiException | None = None
        self._thread = threading.Thread(
            target=self._follow, name=f"watch {kind.plural} in {namespace}", daemon=True
        )
        self._thread.start()

    @property
    def objects(self) -> list[Document]:
        """All of them, in no order. Not to be changed."""
        with self._guard:
            return list(self._objects.values())

    @property
    def is_listed(self) -> bool:
        """Whether `objects` has been complete at some time."""
        return self._listed.is_set()

    @property
    def refusal(self) -> ApiException | None:
        """Why the API server does not let us watch, or None when it does."""
        return self._refusal

    def silent_s(self) -> float:
        """For how many seconds the API server has not answered at all; 0 while it does."""
        since = self._silent_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """Watch no more. Calling it twice is no error."""
        self._closed.set()
        response = self._response
        if response is not None:
            # Its reader is waiting for more in the other thread; this wakes it.
            with suppress(Exception):
                response.shutdown()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread of a closed watch has ended."""
        self._thread.join(timeout_s)

    # --- The thread ---

    def _follow(self) -> None:
        fruitless = 0
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                if self._version is None:
                    self._list()
                    fruitless = 0
                self._watch()
                # One that ends at once may go on doing so, as those of a server that shuts down.
                fruitless = 0 if time.monotonic() - began > PAUSES_S[-1] else fruitless + 1
            except Expired:
                self._version = None
                fruitless += 1
            except Exception as error:
                if self._closed.is_set():
                    return
                self._note(error)
                fruitless += 1
            if fruitless:
                self._closed.wait(PAUSES_S[min(fruitless, len(PAUSES_S)) - 1])

    def _note(self, error: Exception) -> None:
        if not isinstance(error, ApiException):
            if self._silent_since is None:
                logger.warning("watching %s broke off: %s", self._path, error)
                self._silent_since = time.monotonic()
            return
        logger.warning("watching %s: %s %s", self._path, error.status, error.reason)
        self._silent_since = None
        if error.status == GONE:
            self._version = None
        if error.status in {401, 403, 404}:
            self._refusal = error
            self._tell()

    def _list(self) -> None:
        content = self._client.call_api(
            self._path,
            "GET",
            query_params=list(self._selectors),
            header_params={"Accept": "application/json"},
            response_types_map={200: "object"},
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
        )
        found = {_uid(one): one for one in content.get("items") or () if self._keep(one)}
        self._answered()
        with self._guard:
            self._objects = found
        self._version = str(content["metadata"]["resourceVersion"])
        self._listed.set()
        self._tell()

    def _watch(self) -> None:
        """Take changes over until the API server ends the watch."""
        self._response = response = self._open()
        try:
            self._answered()
            if self._closed.is_set():
                return
            for line in lines_of(response):
                change = json.loads(line)
                self._apply(change["type"], change["object"])
        finally:
            self._response = None
            response.close()
            response.release_conn()

    def _open(self) -> urllib3.BaseHTTPResponse:
        response: urllib3.BaseHTTPResponse = self._client.call_api(
            self._path,
            "GET",
            query_params=[
                *self._selectors,
                ("watch", "true"),
                ("allowWatchBookmarks", "true"),
                ("resourceVersion", str(self._version)),
                ("timeoutSeconds", str(WATCH_S)),
            ],
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=(CONNECT_TIMEOUT_S, WATCH_S + OVERDUE_S),
        )
        return response

    def _apply(self, change: str, document: Document) -> None:
        if change == "ERROR":
            if document.get("code") == GONE:
                raise Expired
            raise ApiException(status=document.get("code"), reason=document.get("message"))
        self._version = document["metadata"].get("resourceVersion") or self._version
        if change == "BOOKMARK" or not self._keep(document):
            return
        with self._guard:
            if change == "DELETED":
                self._objects.pop(_uid(document), None)
            else:
                self._objects[_uid(document)] = document
        self._tell()

    def _answered(self) -> None:
        self._silent_since = None
        self._refusal = None

    def _tell(self) -> None:
        try:
            self._on_change()
        except Exception:
            # Were this thread to end, nobody would ever notice that the engine has ended.
            logger.exception("a change of %s could not be taken in", self._path)


def lines_of(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of a body as they come, without newlines; an unfinished last one is left out."""
    rest = b""
    for chunk in response.stream(amt=None, decode_content=True):
        *complete, rest = (rest + chunk).split(b"\n")
        yield from (line for line in complete if line.strip())


def _uid(document: Any) -> str:
    return str(document["metadata"]["uid"])
