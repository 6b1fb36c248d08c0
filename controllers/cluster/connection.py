"""A connection to the Kubernetes API server, and what its errors mean to users."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from controllers.base import DeploymentError
from controllers.cluster.settings import IN_CLUSTER, ClusterSettings, has_default_kubeconfig
from tuning.domain.failures import Failure, FailureKind

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 20.0
"""For one answer of the API server, admission webhooks (10 s each by default) included."""
KEPT_CONNECTIONS = 32
RIGHTS_FILE = "docs/ome-rbac.yaml"

_FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"'
    r'(?: in API group "(?P<group>[^"]*)")?(?: in the namespace "(?P<namespace>[^"]+)")?'
)
"""As the API server says it (responsewriters.ForbiddenMessage in k8s.io/apiserver)."""
_WEBHOOK = re.compile(r'admission webhook "[^"]+" denied the request(?: without explanation)?:? ?')
_NO_SUCH_PATH = "the server could not find the requested resource"


class ClusterUnavailable(Exception):
    """No cluster can be reached; the text is one sentence that says which and why."""


class PatientClient(ApiClient):  # type: ignore[misc]
    """A client that gives up: no call waits longer than the timeouts unless it names its own."""

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        kwargs["_request_timeout"] = kwargs.get("_request_timeout") or (
            CONNECT_TIMEOUT_S,
            READ_TIMEOUT_S,
        )
        return super().request(method, url, *args, **kwargs)


def api_client(settings: ClusterSettings) -> ApiClient:
    """A client of the cluster that the settings name, which has just answered.

    Raises:
        ClusterUnavailable: there is no such cluster, it does not answer, or it does not know us.
    """
    client = PatientClient(_configuration(settings))
    try:
        version_of(client)
    except ApiException as error:
        if error.status == 401:
            raise ClusterUnavailable(sentence(error, "sign in")) from error
        if error.status != 403:
            raise ClusterUnavailable(
                f"The Kubernetes API server {_host(client)} does not work: "
                f"{sentence(error, 'ask for its version')}"
            ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ClusterUnavailable(unanswered(client, error)) from error
    return client


def version_of(client: ApiClient) -> str | None:
    """Kubernetes' version, as `v1.30.2`.

    Raises:
        ApiException, urllib3.exceptions.HTTPError: as every call of the client.
    """
    answer = client.call_api(
        "/version",
        "GET",
        response_types_map={200: "object"},
        auth_settings=["BearerToken"],
        _return_http_data_only=True,
    )
    return answer.get("gitVersion") if isinstance(answer, Mapping) else None


@contextmanager
def asking(client: ApiClient, doing: str) -> Iterator[None]:
    """Turns what goes wrong while `doing` something into a DeploymentError.

    `doing` is what could not be done, as it follows "could not": `create the InferenceService x`.
    """
    try:
        yield
    except ApiException as error:
        failure = failure_of(error, doing)
        raise DeploymentError(failure.kind, failure.message) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        message = f"Could not {doing}: {unanswered(client, error)}"
        raise DeploymentError(FailureKind.CLUSTER_UNAVAILABLE, message) from error


def failure_of(error: ApiException, doing: str) -> Failure:
    """What a refusal means for an experiment; `doing` is as in `sentence`."""
    return Failure(_kind_of(error), sentence(error, doing))


def sentence(error: ApiException, doing: str) -> str:
    """One sentence for users: what could not be done, and the right, object or field at fault.

    `doing` is what could not be done, as it follows "could not": `create the InferenceService x`.
    """
    return f"Could not {doing}: {_reason(error)}"


def unanswered(client: ApiClient, error: Exception) -> str:
    """One sentence about a call that the API server never answered."""
    cause = getattr(error, "reason", None) or error
    return f"the Kubernetes API server {_host(client)} does not answer ({_in_a_line(cause)})."


# --- Configuration ---


def _configuration(settings: ClusterSettings) -> Configuration:
    chosen = Configuration()
    try:
        if settings.kubeconfig is None and not has_default_kubeconfig():
            _load_in_cluster(chosen)
        else:
            config.load_kube_config(
                # The client itself looks at the variable only when it is imported.
                config_file=settings.kubeconfig or os.environ.get("KUBECONFIG"),
                context=settings.context,
                client_configuration=chosen,
                persist_config=False,
            )
    except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        raise ClusterUnavailable(_unusable(settings, error)) from error
    except Exception as error:
        # YAML that is none, and whatever a credential plugin's own library raises.
        raise ClusterUnavailable(_unusable(settings, error)) from error
    chosen.connection_pool_maxsize = KEPT_CONNECTIONS
    # One more try for a kept connection that the server has closed meanwhile, and no other.
    chosen.retries = urllib3.Retry(total=1, connect=0, read=1, redirect=0, status=0, other=0)
    return chosen


def _load_in_cluster(chosen: Configuration) -> None:
    if IN_CLUSTER not in os.environ:
        raise ClusterUnavailable(
            "There is no cluster to reach: neither KUBECONFIG nor ~/.kube/config names one, and "
            "this is no pod of one."
        )
    config.load_incluster_config(client_configuration=chosen)


def _unusable(settings: ClusterSettings, error: Exception) -> str:
    if isinstance(error, ClusterUnavailable):
        return str(error)
    where = settings.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if not (settings.kubeconfig or has_default_kubeconfig()):
        return f"The service account of this pod can't be used: {_in_a_line(error)}."
    contexts = _contexts(settings.kubeconfig)
    if settings.context is not None and contexts and settings.context not in contexts:
        there = ", ".join(f"`{name}`" for name in contexts)
        return f"The kubeconfig {where} has no context `{settings.context}`; it has {there}."
    return f"The kubeconfig {where} can't be used: {_in_a_line(error)}."


def _contexts(kubeconfig: str | None) -> list[str]:
    try:
        contexts, _ = config.list_kube_config_contexts(config_file=kubeconfig)
    except Exception:
        return []
    return [str(one["name"]) for one in contexts]


# --- Errors ---


def _kind_of(error: ApiException) -> FailureKind:
    message = status_of(error).get("message", "")
    if error.status in {400, 409, 422} or _WEBHOOK.search(message):
        return FailureKind.INVALID_SPEC
    if error.status in {401, 403}:
        return FailureKind.FORBIDDEN
    if error.status == 404:
        return FailureKind.ENGINE_MISSING if lacks_the_kind(error) else FailureKind.INVALID_SPEC
    return FailureKind.CLUSTER_UNAVAILABLE


def _reason(error: ApiException) -> str:
    explain = _REASONS.get(error.status or 0)
    status = status_of(error)
    if explain is not None:
        return explain(error, status)
    said = status.get("message") or error.reason or "no reason was given"
    return _ended(f"the API server says {error.status}: {_in_a_line(said)}")


def _unauthorized(error: ApiException, status: Mapping[str, Any]) -> str:
    return (
        "the API server does not accept our credentials; they may have expired, or the kubeconfig "
        "is for another cluster."
    )


def _forbidden(error: ApiException, status: Mapping[str, Any]) -> str:
    message = str(status.get("message") or error.reason)
    found = _FORBIDDEN.search(message)
    if found is None:
        return _denied(message)
    if found["user"] == "system:anonymous":
        return "the API server does not know us: the kubeconfig has no credentials that it accepts."
    resource = found["resource"] + (f" of {found['group']}" if found["group"] else "")
    where = f"in the namespace `{found['namespace']}`" if found["namespace"] else "cluster-wide"
    return (
        f"`{found['user']}` lacks the right to {found['verb']} {resource} {where}; "
        f"{RIGHTS_FILE} has all that is needed."
    )


def _denied(message: str) -> str:
    """By admission: a webhook, a quota, a namespace on its way out."""
    refused = _WEBHOOK.search(message)
    if refused is not None:
        webhook = message[refused.start() :].split('"')[1]
        why = message[refused.end() :].strip() or "it gives no reason"
        return _ended(f"the cluster's webhook `{webhook}` refuses it: {_in_a_line(why)}")
    return _ended(_in_a_line(message))


def _not_found(error: ApiException, status: Mapping[str, Any]) -> str:
    if lacks_the_kind(error):
        return "the cluster does not know this kind of object: OME's CRDs are not installed there."
    details = status.get("details") or {}
    if details.get("name"):
        return f"there is no {details.get('kind') or 'object'} `{details['name']}`."
    return _ended(_in_a_line(status.get("message") or "it is not there"))


def _conflict(error: ApiException, status: Mapping[str, Any]) -> str:
    details = status.get("details") or {}
    name = f"{details.get('kind') or 'object'} `{details.get('name')}`"
    if status.get("reason") == "AlreadyExists":
        return f"{name} is already there and is not ours."
    return _ended(f"{name} was changed by somebody else: {_in_a_line(status.get('message'))}")


def _invalid(error: ApiException, status: Mapping[str, Any]) -> str:
    causes = (status.get("details") or {}).get("causes") or ()
    fields = [
        f"`{cause['field']}`: {_in_a_line(cause.get('message'))}"
        for cause in causes
        if cause.get("field")
    ]
    if fields:
        return _ended("; ".join(dict.fromkeys(fields)))
    return _denied(str(status.get("message") or error.reason))


_REASONS: Mapping[int, Callable[[ApiException, Mapping[str, Any]], str]] = {
    400: _invalid,
    401: _unauthorized,
    403: _forbidden,
    404: _not_found,
    409: _conflict,
    422: _invalid,
}


def lacks_the_kind(error: ApiException) -> bool:
    """Whether a 404 says that the cluster does not know a kind of object.

    Told from a missing object by the answer, which names none.
    """
    status = status_of(error)
    if not status:
        return True
    named = (status.get("details") or {}).get("name")
    return not named and _NO_SUCH_PATH in str(status.get("message"))


def status_of(error: ApiException) -> dict[str, Any]:
    """The `Status` object of the answer; {} where there was none."""
    body = error.body
    try:
        content = json.loads(body) if isinstance(body, str | bytes) else None
    except ValueError:
        content = None
    return content if isinstance(content, dict) and content.get("kind") == "Status" else {}


def _host(client: ApiClient) -> str:
    return str(client.configuration.host)


def _in_a_line(text: object) -> str:
    return " ".join(str(text or "").split()).rstrip(".")


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
