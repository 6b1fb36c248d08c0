"""Results are read from a volume by a pod that is gone afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controllers.cluster import job_results
from controllers.cluster.documents import ReaderPodDocument
from controllers.cluster.job_plan import owner_of
from controllers.cluster.job_results import ResultsReader, ResultsUnreadable
from controllers.cluster.manifests import Manifests
from controllers.cluster.settings import TEMPLATES_DIR
from tests.cluster.cluster import Cluster
from tests.cluster.engines import claim, claim_path
from tests.cluster.images import SHELL_IMAGE
from tests.cluster.objects import inference_service

pytestmark = pytest.mark.slow

Read = Callable[..., dict[str, bytes]]


@pytest.fixture
def folder(cluster: Cluster, namespace: str) -> Path:
    """`a/run-1` on the claim `results`."""
    claim(cluster, namespace, "results")
    path = claim_path(cluster, namespace, "results") / "a" / "run-1"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def read(cluster: Cluster, namespace: str) -> Read:
    service = cluster.create(inference_service(namespace, "owner"))

    def reading(folder: str = "a/run-1", image: str = SHELL_IMAGE) -> dict[str, bytes]:
        pod = ReaderPodDocument("reader", namespace, image, (), "results")
        manifests = Manifests(TEMPLATES_DIR)
        reader = ResultsReader(cluster.client, manifests, pod, owner_of(service), time.sleep)
        try:
            return reader.read(folder)
        finally:
            assert not [one for one in cluster.left_in(namespace) if one.startswith("Pod/reader")]

    return reading


def test_all_json_files_are_read_and_nothing_else(folder: Path, read: Read) -> None:
    files = {"one.json": b'{"a": 1}', "two (3).json": os.urandom(100_000), "-x.json": b"{}"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "report.xlsx").write_bytes(b"none of our business")
    (folder / "link.json").symlink_to("/etc/passwd")
    assert read() == files


def test_what_is_large_comes_in_pieces(
    folder: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_results, "PIECE_BYTES", 30_000)
    content = os.urandom(100_000)
    (folder / "large.json").write_bytes(content)
    assert read() == {"large.json": content}


def test_what_is_too_large_is_said(
    folder: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_results, "MOST_BYTES", 1000)
    (folder / "large.json").write_bytes(os.urandom(2000))
    with pytest.raises(ResultsUnreadable, match="at most 1,000 are read"):
        read()


def test_a_folder_that_is_not_there_is_said(folder: Path, read: Read) -> None:
    with pytest.raises(ResultsUnreadable, match="no folder with results in the claim results"):
        read("a/run-2")


def test_a_folder_without_results_is_said(folder: Path, read: Read) -> None:
    (folder / "genai_bench.log").touch()
    with pytest.raises(ResultsUnreadable, match="has no JSON file"):
        read()


def test_an_image_that_can_not_be_pulled_is_said(folder: Path, read: Read) -> None:
    with pytest.raises(ResultsUnreadable, match="AUTOTUNER_OME_READER_IMAGE"):
        read(image="nowhere/reader:1")
