"""Static files are served as they are now, not as they were when the server was started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from django.contrib.staticfiles import finders
from django.http import StreamingHttpResponse
from django.test import Client


@pytest.fixture
def static_dir(tmp_path: Path, settings: Any) -> Iterator[Path]:
    settings.STATICFILES_DIRS = [tmp_path]
    remembered = cast(Any, finders.get_finder)
    remembered.cache_clear()
    yield tmp_path
    remembered.cache_clear()


def served(client: Client, name: str) -> tuple[bytes, int]:
    """The body, and how long it is said to be."""
    answer = cast(StreamingHttpResponse, client.get(f"/static/{name}"))
    body = b"".join(iter(answer))
    return body, int(answer["Content-Length"])


def test_a_file_that_has_become_longer_is_served_whole(static_dir: Path) -> None:
    client, file = Client(), static_dir / "page.js"
    file.write_text("short")
    assert served(client, "page.js") == (b"short", 5)
    file.write_text("rather longer than before")
    assert served(client, "page.js") == (b"rather longer than before", 25)


def test_an_unchanged_file_is_not_sent_twice(static_dir: Path) -> None:
    (static_dir / "page.css").write_text("a {}")
    first = Client().get("/static/page.css")
    again = Client().get("/static/page.css", headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 304


def test_a_file_that_is_gone_is_not_found(static_dir: Path) -> None:
    client, file = Client(), static_dir / "old.js"
    file.write_text("x")
    assert client.get("/static/old.js").status_code == 200
    file.unlink()
    assert client.get("/static/old.js").status_code != 200
