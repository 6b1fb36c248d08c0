"""Whether an engine in a cluster can be reached without a port-forward, and where.

OME writes a service's address into `status.url`: a name of the cluster's own DNS, or of an ingress.
With the annotation `ome.io/service-type` its Service is a NodePort or a LoadBalancer. Whatever is
there is tried: only the engine's own answer counts, since a name may resolve to something else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.cluster.objects import POD, SERVICE, Document, list_objects
from controllers.cluster.readings import SERVICE_LABEL

logger = logging.getLogger(__name__)

PATIENCE_S = 1.5
"""For everything: whoever asks has to answer within two seconds."""
_ANSWER_S = 1.0
_ASKED_PATH = "/v1/models"
"""Answered by every engine that speaks the OpenAI API, and by little else."""


def reachable_url(client: ApiClient, service_document: Document, namespace: str) -> str | None:
    """The base URL at which the engine of an InferenceService answers this process, or None.

    None stands also for what takes too long to find out. Never raises.
    """
    found = _Found()
    seekers = [
        threading.Thread(target=seek, args=(found,), daemon=True, name="address of an engine")
        for seek in (
            lambda found: _try_all(_of_status(service_document), found),
            lambda found: _try_all(_of_services(client, service_document, namespace), found),
        )
    ]
    for seeker in seekers:
        seeker.start()
    return found.within(PATIENCE_S, seekers)


class _Found:
    """The first address that answered."""

    def __init__(self) -> None:
        self._url: str | None = None
        self._changed = threading.Condition()
        self._done = 0

    def tell(self, url: str) -> None:
        with self._changed:
            self._url = self._url or url
            self._changed.notify_all()

    def is_done(self) -> None:
        with self._changed:
            self._done += 1
            self._changed.notify_all()

    def within(self, patience_s: float, seekers: list[threading.Thread]) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._url or self._done == len(seekers), patience_s)
            return self._url


def _try_all(candidates: Iterator[str], found: _Found) -> None:
    try:
        for url in candidates:
            if _answers(url):
                found.tell(url)
                return
    except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
        logger.debug("no address of an engine: %s", error)
    finally:
        found.is_done()


def _answers(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}{_ASKED_PATH}", timeout=_ANSWER_S, trust_env=False)
        return answer.is_success and isinstance(answer.json().get("data"), list)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError):
        return False


def _of_status(service: Document) -> Iterator[str]:
    url = str((service.get("status") or {}).get("url") or "").rstrip("/")
    if urlsplit(url).scheme in {"http", "https"} and urlsplit(url).hostname:
        yield url


def _of_services(client: ApiClient, service: Document, namespace: str) -> Iterator[str]:
    """Raises ApiException: we may not look at Services or at pods."""
    owned = [
        one
        for one in list_objects(client, SERVICE, namespace)
        if _belongs_to(one, service) and one["spec"].get("type") in {"LoadBalancer", "NodePort"}
    ]
    for one in owned:
        yield from _of_load_balancer(one)
    if owned:
        name = service["metadata"]["name"]
        pods = list_objects(client, POD, namespace, f"{SERVICE_LABEL}={name}")
        hosts = {(pod.get("status") or {}).get("hostIP") for pod in pods}
        for host in sorted(filter(None, hosts)):
            for one in owned:
                yield from (_url(host, port["nodePort"]) for port in _node_ports(one))


def _belongs_to(service: Document, owner: Document) -> bool:
    metadata = service["metadata"]
    owners = {one.get("uid") for one in metadata.get("ownerReferences") or ()}
    label = (metadata.get("labels") or {}).get(SERVICE_LABEL)
    return owner["metadata"]["uid"] in owners or label == owner["metadata"]["name"]


def _of_load_balancer(service: Document) -> Iterator[str]:
    entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for entry in entries:
        host = entry.get("ip") or entry.get("hostname")
        if host:
            yield from (_url(host, port["port"]) for port in service["spec"].get("ports") or ())


def _node_ports(service: Document) -> list[dict[str, Any]]:
    return [port for port in service["spec"].get("ports") or () if port.get("nodePort")]


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
