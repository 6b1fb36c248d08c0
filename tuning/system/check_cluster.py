"""Checks of the cluster that `ome` mode uses: whether it answers, what it has, what it allows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import urllib3
from django.db import DatabaseError

from controllers.cluster.settings import ClusterSettings, is_configured
from tuning.composition import cluster_settings, used_namespaces
from tuning.system.check import Finding, Probe, missing, ok, warning
from tuning.system.read_only import ALIAS, NotCreatedYet, read_only_database

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

DEFAULT_NAMESPACE = "autotuner"
INSTALLATION = "docs/OME_INSTALLATION.md"
NOT_LOOKED_AT = "not looked at: no cluster is configured"
_MOST_NAMED = 12

_PURPOSES = {
    "run engines": True,
    "reach engines and read their logs": True,
    "read models and runtimes": True,
    "measure by BenchmarkJobs": False,
    "see more of the cluster": False,
}
"""Those of `controllers.cluster.rights.Purpose`, and whether `ome` mode needs them."""


class _Away(Exception):
    """The cluster can't be asked; the text says why."""


def kubernetes() -> Finding:
    """Whether there is a cluster, and whether it answers."""
    settings = cluster_settings()
    if not is_configured(settings):
        return warning(
            "not configured: no kubeconfig, and this is no pod of a cluster",
            f"Only ome mode needs a cluster: {INSTALLATION}.",
        )
    try:
        client, version = _client(settings)
    except _Away as error:
        return _unless_needed(settings, str(error), "Mend the kubeconfig, or name another.")
    return ok(f"{version or 'version unknown'} at {client.configuration.host}")


def ome() -> Finding:
    """Whether OME's kinds are there, in the version that is used."""
    from controllers.cluster.objects import OME_GROUP, OME_VERSION
    from controllers.cluster.rights import ome_kinds

    settings = cluster_settings()
    if not is_configured(settings):
        return ok(NOT_LOOKED_AT)
    try:
        client, _ = _client(settings)
    except _Away as error:
        return warning(str(error))
    found = ome_kinds(client)
    hint = f"{INSTALLATION} says how OME is installed."
    if not found.versions:
        return _unless_needed(settings, f"the cluster knows no kinds of {OME_GROUP}", hint)
    versions = ", ".join(found.versions)
    if OME_VERSION not in found.versions:
        wrong = f"{OME_GROUP} is there as {versions}, and {OME_VERSION} is used"
        return _unless_needed(settings, wrong, hint)
    if found.missing:
        return _unless_needed(settings, f"not there: {', '.join(found.missing)}", hint)
    return ok(f"{OME_GROUP} {versions}")


def rights(purpose: str) -> Finding:
    """Which rights of one kind are missing, in each namespace that tasks name."""
    settings = cluster_settings()
    if not is_configured(settings):
        return ok(NOT_LOOKED_AT)
    try:
        client, _ = _client(settings)
    except _Away as error:
        return warning(str(error))
    namespaces = _namespaces()
    lacking = {name: _missing_in(client, name, purpose) for name in namespaces}
    if not any(lacking.values()):
        return ok(f"all of them in {', '.join(namespaces)}")
    told = "; ".join(
        f"missing in {name}: {_listed(wanting)}" for name, wanting in lacking.items() if wanting
    )
    hint = f"`kubectl apply -f docs/ome-rbac.yaml` grants them: {INSTALLATION}, Rights."
    return _unless_needed(settings, told, hint) if _PURPOSES[purpose] else warning(told, hint)


def _missing_in(client: ApiClient, namespace: str, purpose: str) -> list[str]:
    from controllers.cluster.rights import RIGHTS, missing_rights

    wanted = [right for right in RIGHTS if right.purpose == purpose]
    return [str(right) for right in missing_rights(client, namespace, wanted)]


def _client(settings: ClusterSettings) -> tuple[ApiClient, str | None]:
    """Raises _Away."""
    from kubernetes.client.exceptions import ApiException

    from controllers.cluster.connection import ClusterUnavailable, api_client, version_of

    try:
        client = api_client(settings)
    except ClusterUnavailable as error:
        raise _Away(str(error)) from error
    try:
        return client, version_of(client)
    except (ApiException, urllib3.exceptions.HTTPError, OSError):
        return client, None


def _namespaces() -> list[str]:
    """Those of tasks, where the database can tell, and that of tasks that name none."""
    try:
        with read_only_database():
            used = used_namespaces(ALIAS)
    except (NotCreatedYet, DatabaseError):
        used = []
    return sorted({DEFAULT_NAMESPACE, *used})


def _listed(rights: Sequence[str]) -> str:
    named = ", ".join(rights[:_MOST_NAMED])
    more = len(rights) - _MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _unless_needed(settings: ClusterSettings, detail: str, hint: str) -> Finding:
    """A cluster that the autotuner's own settings name has to work; any other need not."""
    return missing(detail, hint) if settings.kubeconfig else warning(detail, hint)


CLUSTER_PROBES = (
    Probe("Kubernetes", kubernetes),
    Probe("OME", ome),
    *(Probe(f"right to {name}", functools.partial(rights, name)) for name in _PURPOSES),
)
