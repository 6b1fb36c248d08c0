"""Fixtures of the tests in a cluster."""

from __future__ import annotations

from tests.cluster.cluster import cluster, namespace
from tests.cluster.installation import command_line, fake_task, tokenizer
from tests.cluster.workers import workers

__all__ = ["cluster", "command_line", "fake_task", "namespace", "tokenizer", "workers"]
