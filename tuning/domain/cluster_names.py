"""Names that mean something in a Kubernetes cluster, and what older task files put into them.

Source of the grammar: RFC 1123 labels and subdomains, as Kubernetes requires them of namespaces
and of objects ("Object Names and IDs" in its documentation).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuning.domain.names import EngineName
from tuning.domain.spec_errors import Problem, shown

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
_OBJECT = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_FOLDER = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")

MOST_CHARACTERS_OF_A_NAMESPACE = 63
MOST_CHARACTERS_OF_A_NAME = 253

JOB_MODEL_NAME = "vllm-model"
"""What OME's BenchmarkJobs write into every request as the model's name."""

_ENGINES_OF_WORDS: Mapping[str, EngineName] = {
    "sglang": EngineName.SGLANG,
    "srt": EngineName.SGLANG,
    "vllm": EngineName.VLLM,
}
"""How OME's own runtimes are called: `srt-…` are SGLang's, `vllm-…` are vLLM's."""

OLDER_RUNTIME_PATTERN = rf"(^|[-.])({'|'.join(_ENGINES_OF_WORDS)})([-.]|$)"
"""What a runtime's name matches from which its engine can be told."""


def namespace_fault(name: str) -> str | None:
    """What is wrong with the name of a namespace, as the end of a sentence; None if nothing."""
    if len(name) <= MOST_CHARACTERS_OF_A_NAMESPACE and _NAMESPACE.fullmatch(name):
        return None
    return (
        "must be the name of a Kubernetes namespace: lower-case letters, digits and '-', at most "
        f"{MOST_CHARACTERS_OF_A_NAMESPACE} characters, such as autotuner"
    )


def object_name_fault(name: str) -> str | None:
    """What is wrong with the name of an object, as the end of a sentence; None if nothing."""
    if len(name) <= MOST_CHARACTERS_OF_A_NAME and _OBJECT.fullmatch(name):
        return None
    return (
        "must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.', at "
        f"most {MOST_CHARACTERS_OF_A_NAME} characters, such as srt-llama-3-2-1b-instruct"
    )


@dataclass(frozen=True)
class ClaimFolder:
    """A folder of a volume: the claim's name, and the path below the volume's root."""

    claim: str
    folder: str

    @property
    def uri(self) -> str:
        return f"pvc://{self.claim}/{self.folder}"


def claim_folder(uri: str) -> ClaimFolder:
    """Read `pvc://<claim>/<folder>`, as OME spells a folder of a PersistentVolumeClaim.

    Raises:
        ValueError: with what is wrong, as the end of a sentence.
    """
    scheme, separator, rest = uri.partition("://")
    claim, _, folder = rest.partition("/")
    folder = folder.rstrip("/")
    if scheme != "pvc" or not separator or not claim or not folder:
        raise ValueError(
            "must be pvc://<claim>/<folder>, such as pvc://benchmark-results/autotuner"
        )
    if object_name_fault(claim) is not None:
        raise ValueError(f"must name a claim as Kubernetes does; {shown(claim)} is no such name")
    if _FOLDER.fullmatch(folder) is None or {".", ".."} & set(folder.split("/")):
        raise ValueError(
            "must have a plain folder after the claim: letters, digits, '.', '_' and '-', with '/' "
            f"between and without '..'; {shown(folder)} is none"
        )
    return ClaimFolder(claim, folder)


def with_older_runtime(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Problem]]:
    """The document with its `base_runtime` as an engine, and why that can't be told.

    Older files name a cluster's runtime there. It becomes `ome.runtime`, and the engine is told
    from its name. What is no runtime's name is left as it is, for the field to judge.
    """
    name = document.get("base_runtime")
    if not isinstance(name, str) or name in list(EngineName) or "-" not in name:
        return document, []
    section = document.get("ome", {})
    engines = {_ENGINES_OF_WORDS.get(word) for word in re.split(r"[-.]", name)} - {None}
    if len(engines) != 1:
        return document, [_untold(name)]
    if not isinstance(section, Mapping):
        return document, []
    if section.get("runtime") is not None:
        message = "names a serving runtime, as ome.runtime does; write the engine here"
        return document, [Problem(("base_runtime",), message, shown(name))]
    (engine,) = engines
    return {**document, "base_runtime": engine, "ome": {**section, "runtime": name}}, []


def _untold(name: str) -> Problem:
    message = (
        "is no engine, and if it is a serving runtime, its name does not tell which engine it "
        f"runs; write {', '.join(EngineName)} here and the runtime into ome.runtime"
    )
    return Problem(("base_runtime",), message, shown(name))
