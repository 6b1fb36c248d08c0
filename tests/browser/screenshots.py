"""Pictures of every page, light, dark and on a phone: `python -m tests.browser.screenshots`.

They go to screenshots/ and are there to be looked at; nothing compares them. With `--readme` it
takes the README's three instead.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import django
from playwright.sync_api import Browser

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from tests.browser.addresses import PAGES, SHOWCASE, shown_in  # noqa: E402
from tests.browser.chromium import DESKTOP, PHONE, running_chromium, sign_in  # noqa: E402
from tests.seeding import PASSWORD  # noqa: E402
from tests.services import Installation, running_redis  # noqa: E402

LOOKS: Mapping[str, tuple[Mapping[str, int], str]] = {
    "light": (DESKTOP, "light"),
    "dark": (DESKTOP, "dark"),
    "phone": (PHONE, "light"),
}
SETTLED_MS = 1_500
UNSTICK = """for (const one of document.querySelectorAll('.sticky, .save-bar, .editor-side'))
    one.style.position = 'static'"""
"""What sticks to the window would lie in the middle of a picture that is taller."""
IMAGES = Path("docs/images")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--into", type=Path, default=Path("screenshots"))
    parser.add_argument("--only", nargs="*", choices=PAGES, help="these pages alone")
    parser.add_argument("--looks", nargs="*", choices=LOOKS, default=list(LOOKS))
    parser.add_argument("--readme", action="store_true", help="the README's, into docs/images/")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="autotuner-pictures-") as scratch,
        running_redis() as redis,
    ):
        installation = Installation.create(Path(scratch), redis.url)
        try:
            seed = installation.start("seed", "-m", "tests.seeding", "--tasks=18", SHOWCASE)
            assert seed.wait() == 0, seed.output()
            places = shown_in(seed.output())
            _, host = installation.start_web()
            with running_chromium() as chromium:
                if options.readme:
                    take_for_the_readme(chromium, f"http://{host}", places)
                    return
                names = options.only or PAGES
                paths = {name: PAGES[name].format_map(places) for name in names}
                for look in options.looks:
                    take(chromium, f"http://{host}", look, paths, options.into)
        finally:
            installation.stop_all()


def take(chromium: Browser, address: str, look: str, paths: Mapping[str, str], into: Path) -> None:
    size, colours = LOOKS[look]
    context = chromium.new_context(viewport=size, color_scheme=colours)  # type: ignore[arg-type]
    page = sign_in(context, address, "demo", PASSWORD)
    for name, path in paths.items():
        page.goto(address + path)
        page.wait_for_timeout(SETTLED_MS)
        page.evaluate(UNSTICK)
        page.screenshot(path=into / f"{name}.{look}.png", full_page=True)
    context.close()


def take_for_the_readme(chromium: Browser, address: str, places: Mapping[str, int]) -> None:
    context = chromium.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    page = sign_in(context, address, "demo", PASSWORD)
    page.goto(address + PAGES["task-verified"].format_map(places))
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=IMAGES / "task.png")
    page.evaluate(UNSTICK)
    page.locator("#charts").screenshot(path=IMAGES / "charts.png")
    page.goto(f"{address}/tasks/new/?preset=vllm_chat_latency")
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=IMAGES / "new-task.png")
    context.close()


if __name__ == "__main__":
    main()
