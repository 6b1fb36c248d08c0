"""Log lines arrive in the file and in the database, each once, in order, without secrets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import override_settings

from tuning.domain.names import LogSource
from tuning.logs import LogLine, Redactor, TaskLog, known_secrets
from tuning.models import LogChunk, Task

MakeTask = Callable[..., Task]


def stored_lines(task: Task) -> list[tuple[int, str]]:
    return [
        (chunk.first_seq + place, line[2])
        for chunk in LogChunk.objects.filter(task=task)
        for place, line in enumerate(chunk.lines)
    ]


@pytest.mark.django_db(transaction=True)
def test_two_writers_of_one_task_share_one_sequence(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()

    def write(name: str) -> None:
        with TaskLog(task.pk, tmp_path, flush_interval_s=0.01) as log:
            for number in range(200):
                log(LogSource.ENGINE, f"{name} {number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stored_lines(task)
    assert [sequence for sequence, _ in lines] == list(range(1, 401))
    for name in "ab":
        own = [text for _, text in lines if text.startswith(name)]
        assert own == [f"{name} {number}" for number in range(200)]
    file_lines = (tmp_path / f"task_{task.pk}.log").read_text().splitlines()
    assert len(file_lines) == 400


@pytest.mark.django_db(transaction=True)
def test_lines_are_stored_in_batches(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    with TaskLog(task.pk, tmp_path, flush_interval_s=60) as log:
        for number in range(1000):
            log(LogSource.BENCHMARK, str(number))
    chunk = LogChunk.objects.get(task=task)
    assert (chunk.first_seq, chunk.last_seq) == (1, 1000)


@pytest.mark.django_db(transaction=True)
def test_no_secret_is_written_anywhere(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    task = make_task()
    echoed: list[LogLine] = []
    with TaskLog(task.pk, tmp_path, echo=echoed.append) as log:
        log(LogSource.ENGINE, "Authorization: Bearer hf_verysecret!")
    written = (tmp_path / f"task_{task.pk}.log").read_text()
    stored = str(stored_lines(task))
    for text in (written, stored, echoed[0].text):
        assert "hf_verysecret" not in text
        assert "Bearer [redacted]!" in text


@override_settings(OWN_API_KEY="own-secret-key", REDIS_URL="redis://:redis-secret@localhost:6379/0")
def test_secrets_of_settings_and_urls_are_known() -> None:
    redact = Redactor(known_secrets())
    assert redact("own-secret-key at redis-secret") == "[redacted] at [redacted]"


def test_a_secret_inside_another_leaves_no_remains() -> None:
    redact = Redactor({"A_KEY": "abcdef", "B_SECRET": "abcdefghij", "HOME": "/home/me"})
    assert redact("x abcdefghij y abcdef z /home/me") == "x [redacted] y [redacted] z /home/me"


def test_short_values_are_no_secrets() -> None:
    assert Redactor({"API_KEY": "none"})("none of it") == "none of it"
