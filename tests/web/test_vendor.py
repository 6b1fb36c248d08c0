"""What lies in static/vendor is what was released."""

from __future__ import annotations

import hashlib

from django.conf import settings

VENDOR = settings.BASE_DIR / "static" / "vendor"
ABOUT = {"README.md", "SHA256SUMS"}


def test_every_file_has_its_checksum() -> None:
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    code = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name not in ABOUT and "LICENSE" not in path.name
    }

    assert code == sums


def test_every_file_is_listed_with_its_licence_beside_it() -> None:
    readme = (VENDOR / "README.md").read_text()
    packages = {path.name.partition("-")[0] for path in VENDOR.iterdir() if path.name not in ABOUT}

    for path in VENDOR.iterdir():
        if path.name not in ABOUT and "LICENSE" not in path.name:
            assert f"`{path.name}`" in readme
    assert {path.name.partition("-")[0] for path in VENDOR.glob("*LICENSE*")} == packages
