"""Reading the results of a BenchmarkJob from the volume on which OME left them.

A short-lived pod packs the folder's JSON files and prints a piece of the archive as base64; its log
is all that is needed of the cluster, and no right to run commands in pods. A kubelet rotates a log
at 10 MiB by default and then serves only the newest part, so that one pod prints at most
`PIECE_BYTES`, and further pods what is left. The archive's length and checksum stand in each log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.cluster.connection import asking
from controllers.cluster.documents import ReaderPodDocument
from controllers.cluster.manifests import Manifests
from controllers.cluster.objects import POD, Document, create, delete, find
from controllers.cluster.readings import NEVER_STARTS

PIECE_BYTES = 3 * 1024 * 1024
MOST_BYTES = 64 * 1024 * 1024
"""Of the packed archive; a thousand requests take about 30 KiB."""
MOST_UNPACKED_BYTES = 1024 * 1024 * 1024

_LOOK_S = 0.3
_PATIENCE_S = 240.0
"""For one pod: attaching a volume alone may take minutes."""
_DEADLINE_S = 300
_LOG_BYTES = 2 * PIECE_BYTES
_NO_FOLDER, _NO_FILES = 3, 4

_HEAD, _END = "autotuner-archive", "autotuner-end"
_SCRIPT = f"""
cd "$1" || exit {_NO_FOLDER}
[ -n "$(ls ./*.json 2>/dev/null)" ] || exit {_NO_FILES}
archive=$(mktemp)
tar -cf "$archive" ./*.json || exit 1
gzip -n < "$archive" > "$archive.gz" || exit 1
size=$(wc -c < "$archive.gz")
sum=$(sha256sum < "$archive.gz")
echo "{_HEAD} $size $sum"
tail -c "+$2" "$archive.gz" 2>/dev/null | head -c "$3" | base64
echo "{_END}"
rm -f "$archive" "$archive.gz"
"""
"""For busybox as well as for more. Equal files give equal archives, so that pieces fit."""


class ResultsUnreadable(Exception):
    """The results can't be had; the text is one sentence that says why."""


@dataclass(frozen=True)
class ResultsReader:
    """Reads one folder of a volume.

    `pod` describes the reader's pod; its name, command and deadline are set here. `owner` is what
    the pod belongs to, so that nothing of it outlives an autotuner that was killed. `wait` waits
    for some seconds; what it raises ends the reading.
    """

    client: ApiClient
    manifests: Manifests
    pod: ReaderPodDocument
    owner: Mapping[str, Any]
    wait: Callable[[float], None]

    def read(self, folder: str) -> dict[str, bytes]:
        """The JSON files of the folder, which is a path below the volume's root, by name.

        Raises:
            ResultsUnreadable: there is no such folder, or it can't be read.
            DeploymentError: the cluster refuses the pod, or does not answer.
        """
        pieces: list[bytes] = []
        expected: tuple[int, str] | None = None
        while expected is None or sum(map(len, pieces)) < expected[0]:
            head, piece = self._piece(folder, len(pieces), sum(map(len, pieces)))
            if expected is not None and head != expected:
                raise ResultsUnreadable("The results changed while they were read.")
            if head[0] > MOST_BYTES:
                raise ResultsUnreadable(
                    f"The results are {head[0]:,} bytes, and at most {MOST_BYTES:,} are read."
                )
            if not piece:
                raise ResultsUnreadable("The reader's pod printed less than it announced.")
            expected = head
            pieces.append(piece)
        archive = b"".join(pieces)
        if len(archive) != expected[0] or hashlib.sha256(archive).hexdigest() != expected[1]:
            raise ResultsUnreadable("The results were damaged on their way.")
        return dict(_unpacked(archive))

    def _piece(self, folder: str, number: int, offset: int) -> tuple[tuple[int, str], bytes]:
        """Length and checksum of the whole archive, and the piece that begins at `offset`."""
        path = str(PurePosixPath(self.pod.mount_path) / folder)
        command = ["sh", "-c", _SCRIPT, "reader", path, str(offset + 1), str(PIECE_BYTES)]
        pod = replace(
            self.pod,
            name=f"{self.pod.name}-{number}",
            command=command,
            deadline_s=_DEADLINE_S,
        )
        try:
            log = self._log_of(pod)
        finally:
            self._remove(pod)
        return _parsed(log)

    def _log_of(self, pod: ReaderPodDocument) -> str:
        document = pod.document(self.manifests)
        document["metadata"]["ownerReferences"] = [dict(self.owner)]
        with asking(self.client, f"create the pod {pod.name}"):
            try:
                create(self.client, POD, document, pod.namespace)
            except ApiException as error:
                # Ours: an answer was lost, or an earlier attempt was cut off.
                if error.status != 409:
                    raise
        self._await_end(pod)
        with asking(self.client, f"read the log of the pod {pod.name}"):
            return self._printed(pod)

    def _await_end(self, pod: ReaderPodDocument) -> None:
        waited_s = 0.0
        while True:
            with asking(self.client, f"look at the pod {pod.name}"):
                document = find(self.client, POD, pod.name, pod.namespace)
            if document is None:
                raise ResultsUnreadable(f"The pod {pod.name} was deleted by somebody else.")
            phase = (document.get("status") or {}).get("phase")
            if phase == "Succeeded":
                return
            complaint = _complaint(document, pod)
            if complaint is not None:
                raise ResultsUnreadable(complaint)
            if waited_s > _PATIENCE_S:
                raise ResultsUnreadable(
                    f"The pod {pod.name}, which reads the results, did not end within "
                    f"{_PATIENCE_S:g} s: {_waits_for(document)}."
                )
            self.wait(_LOOK_S)
            waited_s += _LOOK_S

    def _printed(self, pod: ReaderPodDocument) -> str:
        answer = self.client.call_api(
            f"{POD.path(pod.namespace, pod.name)}/log",
            "GET",
            query_params=[("limitBytes", str(_LOG_BYTES))],
            header_params={"Accept": "text/plain, */*"},
            auth_settings=["BearerToken"],
            _preload_content=False,
        )
        try:
            return str(answer.data.decode("ascii", errors="replace"))
        finally:
            answer.release_conn()

    def _remove(self, pod: ReaderPodDocument) -> None:
        """At once; the name is needed again only by a next attempt."""
        with asking(self.client, f"delete the pod {pod.name}"):
            delete(self.client, POD, pod.name, pod.namespace, grace_s=0)


def _parsed(log: str) -> tuple[tuple[int, str], bytes]:
    lines = log.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith(f"{_HEAD} ")), None)
    if start is None or _END not in lines[start:]:
        said = " ".join(log.split())[-300:] or "nothing"
        raise ResultsUnreadable(f"The reader's pod printed no whole archive, but: {said}")
    try:
        _, size, checksum, *_ = lines[start].split()
        text = "".join(lines[start + 1 : lines.index(_END, start)])
        return (int(size), checksum), base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ResultsUnreadable(f"The reader's pod printed no archive: {error}.") from error


def _unpacked(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Plain files alone, and in memory: no name of a volume is ever used as a path."""
    size = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
            for member in packed:
                if not member.isfile():
                    continue
                size += member.size
                if size > MOST_UNPACKED_BYTES:
                    raise ResultsUnreadable(
                        f"The results are larger than {MOST_UNPACKED_BYTES:,} bytes."
                    )
                content = packed.extractfile(member)
                assert content is not None
                yield PurePosixPath(member.name).name, content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ResultsUnreadable(f"The results can't be unpacked: {error}.") from error


def _complaint(document: Document, pod: ReaderPodDocument) -> str | None:
    """Why the pod will never print the results; None while it may."""
    status = document.get("status") or {}
    for state in _states(status):
        waiting = state.get("waiting") or {}
        if waiting.get("reason") in NEVER_STARTS:
            return (
                f"The pod {pod.name}, which reads the results, can't start "
                f"({waiting['reason']}): {waiting.get('message') or 'no reason is given'}. Its "
                f"image is {pod.image} (AUTOTUNER_OME_READER_IMAGE)."
            )
        ended = state.get("terminated") or {}
        if ended.get("exitCode") == _NO_FOLDER:
            return f"There is no folder with results in the claim {pod.claim}."
        if ended.get("exitCode") == _NO_FILES:
            return f"The folder with results in the claim {pod.claim} has no JSON file."
    if status.get("phase") == "Failed":
        ends = (one.get("terminated") or {} for one in _states(status))
        ended = next((one for one in ends if one), {})
        why = ended.get("reason") or status.get("reason") or "no reason is given"
        return (
            f"The pod {pod.name}, which reads the results, failed ({why}, exit code "
            f"{ended.get('exitCode')})."
        )
    return None


def _states(status: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [one.get("state") or {} for one in status.get("containerStatuses") or ()]


def _waits_for(document: Document) -> str:
    status = document.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason"))
    return f"it is {status.get('phase') or 'not looked at yet'}"
