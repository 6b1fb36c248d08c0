"""The way to a port of a pod: a websocket through the API server, as `kubectl` has one.

The protocol is `v4.channel.k8s.io` (k8s.io/kubelet, `pkg/cri/streaming/portforward/websocket.go`):
each frame begins with the number of its channel, channel 0 carries data and channel 1 errors, and
the first frame of each names the port.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from controllers.cluster.connection import failure_of
from tuning.domain.failures import Failure

_PROTOCOL = Subprotocol("v4.channel.k8s.io")
_DATA, _ERROR = b"\x00", b"\x01"
_LARGEST_FRAME_BYTES = 16 * 1024 * 1024
_OPENING_S = 10.0
_CLOSING_S = 1.0
_PING_S = 20.0
"""A load balancer before the API server drops what is silent for longer, such as a long prefill."""


class NoWay(Exception):
    """No connection to the pod, and why; `again` says that another try may help. `refusal` is set
    where a right is missing, which no try brings."""

    def __init__(self, reason: str, *, again: bool = False, refusal: Failure | None = None) -> None:
        super().__init__(reason)
        self.again = again
        self.refusal = refusal


class PodStream:
    """One connection to the port of a pod: bytes in both directions."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._named: set[bytes] = set()

    async def send(self, data: bytes) -> None:
        """Raises ConnectionClosed: the pod, or somebody between, has hung up."""
        await self._websocket.send(_DATA + data)

    async def received(self) -> AsyncIterator[bytes]:
        """What the pod sends, until it hangs up.

        Raises:
            NoWay: nothing listens on the pod's port, or the connection to it broke.
        """
        try:
            async for frame in self._websocket:
                # Texts are another protocol's.
                channel, payload = (b"", b"") if isinstance(frame, str) else (frame[:1], frame[1:])
                if channel not in self._named:
                    self._named.add(channel)
                elif channel == _ERROR:
                    raise NoWay(payload.decode(errors="replace"))
                elif channel == _DATA and payload:
                    yield payload
        except ConnectionClosed:
            return

    async def close(self) -> None:
        await self._websocket.close()


class PodPort:
    """A port of whichever pod `pod` names at the moment. May be used by one event loop."""

    def __init__(
        self, client: ApiClient, namespace: str, pod: Callable[[], str | None], port: int
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._pod = pod
        self._port = port
        self._tls = _tls(client.configuration)

    def address(self) -> tuple[str, dict[str, str]]:
        """The websocket's URL and headers. Blocks: credentials may have to be renewed first.

        Raises:
            NoWay: there is no pod now.
        """
        pod = self._pod()
        if pod is None:
            raise NoWay("there is no pod to reach", again=False)
        headers: dict[str, str] = {}
        self._client.update_params_for_auth(headers, [], ["BearerToken"])
        host = self._client.configuration.host.replace("http", "ws", 1).rstrip("/")
        path = f"api/v1/namespaces/{quote(self._namespace)}/pods/{quote(pod)}/portforward"
        return f"{host}/{path}?ports={self._port}", headers

    async def open(self, url: str, headers: dict[str, str]) -> PodStream:
        """Raises NoWay: the API server refuses, or there is no way to it."""
        try:
            websocket = await connect(
                url,
                ssl=self._tls if url.startswith("wss:") else None,
                server_hostname=self._server_hostname(url),
                additional_headers=headers,
                subprotocols=[_PROTOCOL],
                compression=None,
                proxy=_proxy(self._client.configuration),
                open_timeout=_OPENING_S,
                close_timeout=_CLOSING_S,
                # Answers to pings queue up behind data, so a slow reader must not look dead.
                ping_interval=_PING_S,
                ping_timeout=None,
                max_size=_LARGEST_FRAME_BYTES,
            )
        except InvalidStatus as refusal:
            status = refusal.response.status_code
            # A pod that is gone may have a successor; a right that is missing stays so.
            again = status == 404 or status >= 500
            raise NoWay(_said(refusal), again=again, refusal=_missing_right(refusal)) from refusal
        except (OSError, WebSocketException) as error:
            reason = str(error) or type(error).__name__
            raise NoWay(f"no connection to the API server: {reason}", again=True) from error
        return PodStream(websocket)

    def _server_hostname(self, url: str) -> str | None:
        if not url.startswith("wss:"):
            return None
        return self._client.configuration.tls_server_name or urlsplit(url).hostname


def _tls(configuration: Configuration) -> ssl.SSLContext:
    """As the client itself would connect: its authority, its own certificate, its strictness."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if configuration.verify_ssl:
        context.check_hostname = configuration.assert_hostname is not False
        if configuration.ssl_ca_cert:
            context.load_verify_locations(configuration.ssl_ca_cert)
        else:
            context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _proxy(configuration: Configuration) -> str | None:
    """The proxy that the client's other calls go through, if any."""
    if not configuration.proxy:
        return None
    host = urlsplit(configuration.host).netloc
    bypassed = proxy_bypass_environment(host, {"no": configuration.no_proxy or ""})
    return None if bypassed else str(configuration.proxy)


def _missing_right(refusal: InvalidStatus) -> Failure | None:
    response = refusal.response
    if response.status_code not in {401, 403}:
        return None
    error = ApiException(status=response.status_code, reason=response.reason_phrase)
    error.body = (response.body or b"").decode(errors="replace")
    return failure_of(error, "forward a port of the engine's pod")


def _said(refusal: InvalidStatus) -> str:
    """The API server's own words, where its answer is a Status object."""
    body = (refusal.response.body or b"").decode(errors="replace").strip()
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"the API server answers {refusal.response.status_code} {body[:200]}".strip()
