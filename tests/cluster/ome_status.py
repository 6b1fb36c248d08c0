"""An InferenceService's status, as OME tells it of a raw deployment.

From `status/status_reconciler.go`, `status/status_util.go` and the ingress strategy of v0.1.5.
"""

from __future__ import annotations

from tests.cluster.api import Document, now

MAIN_CONTAINER = "ome-container"


def status_of(
    service: Document, deployment: Document | None, pods: list[Document], failure: Document | None
) -> Document:
    """`failure` is why nothing could be deployed, where OME says so in the status."""
    before = service.get("status", {})
    status = dict(before)
    if failure is not None:
        status["modelStatus"] = _model_status("InvalidSpec", "FailedToLoad", failure)
        return status
    if deployment is None:
        return status
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    url = f"http://{name}.{namespace}.svc.cluster.local"
    available = _available(deployment)
    status["url"] = url
    status["address"] = {"url": url}
    status["observedGeneration"] = deployment.get("status", {}).get("observedGeneration", 0)
    status["conditions"] = _conditions(before.get("conditions", []), available)
    ready = available["status"] == "True"
    status["components"] = {"engine": {"url": url} if ready else {}}
    status["modelStatus"] = _model_status_of(pods, ready)
    return status


def _available(deployment: Document) -> Document:
    conditions = deployment.get("status", {}).get("conditions", [])
    found = [one for one in conditions if one["type"] == "Available"]
    return found[0] if found else {"status": "Unknown"}


def _conditions(before: list[Document], available: Document) -> list[Document]:
    why = {name: available[name] for name in ("reason", "message") if name in available}
    told = why if available["status"] != "True" else {}
    wanted: list[Document] = [
        {"type": "EngineReady", "status": available["status"], **told},
        {"type": "IngressReady", "status": "True"},
        {"type": "Ready", "status": available["status"], **told},
    ]
    return [_with_time(one, before) for one in wanted]


def _with_time(wanted: Document, before: list[Document]) -> Document:
    """The time of the last change of its status."""
    for one in before:
        if one["type"] == wanted["type"] and one["status"] == wanted["status"]:
            return {**wanted, "lastTransitionTime": one["lastTransitionTime"]}
    return {**wanted, "lastTransitionTime": now()}


def _model_status_of(pods: list[Document], ready: bool) -> Document:
    if not pods:
        return _model_status("InProgress", "Pending")
    if ready:
        return _model_status("UpToDate", "Loaded") | {
            "modelCopies": {"failedCopies": 0, "totalCopies": len(pods)}
        }
    pod = pods[0]
    for one in pod.get("status", {}).get("containerStatuses", []):
        if one["name"] == MAIN_CONTAINER and (ended := _how_it_ended(one)):
            failure = {
                "reason": "ModelLoadFailed",
                "location": pod["metadata"]["name"],
                "exitCode": ended["exitCode"],
                "message": ended.get("message", ""),
            }
            return _model_status("BlockedByFailedLoad", "FailedToLoad", failure)
    return _model_status("InProgress", "Pending")


def _how_it_ended(status: Document) -> Document | None:
    """The end of a container that died, or that waits to be started again after it."""
    state = status.get("state", {})
    ended: Document | None = state.get("terminated")
    if state.get("waiting", {}).get("reason") == "CrashLoopBackOff":
        ended = status.get("lastState", {}).get("terminated")
    return ended if ended and ended.get("reason") in ("Error", "OOMKilled") else None


def _model_status(transition: str, target: str, failure: Document | None = None) -> Document:
    states = {
        "activeModelState": "Loaded" if target == "Loaded" else "",
        "targetModelState": target,
    }
    told: Document = {"lastFailureInfo": failure} if failure else {}
    return {"transitionStatus": transition, "modelRevisionStates": states, **told}
