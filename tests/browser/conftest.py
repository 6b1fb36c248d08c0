"""A browser, and a server with seeded tasks to look at.

No fixture here touches Django's database in this process: a running Playwright makes the thread
count as asynchronous.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.addresses import PAGES, SHOWCASE, shown_in
from tests.browser.chromium import (
    DESKTOP,
    Complaints,
    chromium_path,
    running_chromium,
    sign_in,
)
from tests.seeding import PASSWORD
from tests.services import Installation, RedisServer, redis_server

__all__ = ["redis_server"]

LONG_LOG = 100_000
"""Lines of the log of task `OTHER_COMPLETED`."""
MUST_RUN = "AUTOTUNER_TESTS_MUST_RUN"


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if chromium_path() is None:
        message = "no chromium here (Debian: apt-get install chromium)"
        if os.environ.get(MUST_RUN):
            pytest.fail(message)
        pytest.skip(message)
    with running_chromium() as browser:
        yield browser


@dataclass(frozen=True)
class SeededSite:
    """`address` is `http://host:port`; its superuser is `demo`. `places` are the showcase's."""

    address: str
    installation: Installation
    places: Mapping[str, int]

    def path(self, name: str) -> str:
        """Of one of `PAGES`."""
        return PAGES[name].format_map(self.places)

    @property
    def host(self) -> str:
        return self.address.removeprefix("http://")


@pytest.fixture(scope="package")
def seeded_site(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[SeededSite]:
    installation = Installation.create(tmp_path_factory.mktemp("seeded"), redis_server.url)
    try:
        seed = installation.start(
            *("seed", "-m", "tests.seeding", "--tasks=18", "--experiments=10"),
            f"--long-log={LONG_LOG}",
            SHOWCASE,
        )
        assert seed.wait() == 0, seed.output()
        _, host = installation.start_web()
        yield SeededSite(f"http://{host}", installation, shown_in(seed.output()))
    finally:
        installation.stop_all()


@pytest.fixture
def complaints(seeded_site: SeededSite) -> Iterator[Complaints]:
    complaints = Complaints(seeded_site.host)
    yield complaints
    assert complaints.unexpected() == []


@pytest.fixture
def page(chromium: Browser, seeded_site: SeededSite, complaints: Complaints) -> Iterator[Page]:
    """Signed in as `demo`, on a desktop, in light colours."""
    context = chromium.new_context(viewport=DESKTOP, base_url=seeded_site.address)  # type: ignore[arg-type]
    page = sign_in(context, seeded_site.address, "demo", PASSWORD)
    complaints.watch(page)
    yield page
    context.close()
