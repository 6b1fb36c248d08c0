"""`manage.py doctor` as a user runs it: what it says, its exit code, that it changes nothing."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest

from tests.system.conftest import NOBODY_LISTENS, Installation
from tuning import migrations
from tuning.system.checks import GROUPS

NEWEST_MIGRATION = max(path.stem for path in Path(migrations.__path__[0]).glob("0*.py"))
NAMES = [probe.name for probes in GROUPS.values() for probe in probes]


def test_a_fresh_installation_lacks_nothing_that_it_needs(fresh: Installation) -> None:
    done = fresh.manage("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    for name in NAMES:
        assert re.search(rf"^  [✓!✗] {name} ", done.stdout, re.MULTILINE), name
    for group in GROUPS:
        assert f"{group}\n" in done.stdout
    assert "Everything that the settings need is there." in done.stdout


def test_a_terminal_without_our_signs_gets_others(fresh: Installation) -> None:
    done = fresh.manage("doctor", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert re.search(r"^  \+ Python ", done.stdout, re.MULTILINE)
    assert " -> " in done.stdout


def test_the_json_document_is_stable(fresh: Installation) -> None:
    done = fresh.manage("doctor", "--json")
    document = fresh.document_of(done)
    assert list(document) == ["ok", "checks"]
    assert document["ok"] is True
    assert [check["name"] for check in document["checks"]] == NAMES
    for check in document["checks"]:
        assert list(check) == ["group", "name", "state", "detail", "hint"]
        assert check["state"] in {"ok", "warning", "missing"}
        assert check["detail"]
    again = fresh.document_of(fresh.manage("doctor", "--json"))
    assert [one["state"] for one in again["checks"]] == [one["state"] for one in document["checks"]]


def test_a_fresh_home_gets_nothing_but_what_the_settings_make(
    fresh: Installation, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    del fresh.env["AUTOTUNER_DATA_DIR"]
    assert fresh.doctor(HOME=str(home)) == 0
    made = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    data = ".local/share/inference-autotuner"
    assert made == {f"{data}/secret_key", f"{data}/instance"}
    assert not (home / data / "models").exists()


def test_an_existing_database_is_only_read(migrated: Installation) -> None:
    before = migrated.files()
    assert migrated.doctor() == 0
    assert migrated.files() == before
    assert migrated.doctor_says["database"]["state"] == "ok"
    assert migrated.doctor_says["migrations"]["detail"] == "all applied"
    assert migrated.doctor_says["journal mode"]["detail"] == "WAL"


def test_what_a_writer_has_not_yet_moved_into_the_file_is_seen(migrated: Installation) -> None:
    with contextlib.closing(sqlite3.connect(migrated.database)) as writer, writer:
        writer.execute("DELETE FROM django_migrations WHERE app = 'tuning'")
        writer.commit()
        assert migrated.database.with_name("autotuner.db-wal").exists()
        assert migrated.doctor() == 1
    assert NEWEST_MIGRATION in migrated.doctor_says["migrations"]["detail"]


def test_a_database_that_lacks_migrations_fails_with_the_command_to_run(
    fresh: Installation,
) -> None:
    assert fresh.manage("migrate", "tuning", "0001", "--verbosity", "0").returncode == 0
    before = fresh.files()
    assert fresh.doctor() == 1
    found = fresh.doctor_says["migrations"]
    assert found["state"] == "missing"
    assert NEWEST_MIGRATION in found["detail"]
    assert "manage.py migrate" in found["hint"]
    assert fresh.files() == before


def test_a_database_out_of_wal_mode_is_told_and_left_so(migrated: Installation) -> None:
    with contextlib.closing(sqlite3.connect(migrated.database)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
    before = migrated.files()
    assert migrated.doctor() == 0
    assert migrated.doctor_says["journal mode"]["state"] == "warning"
    assert migrated.files() == before


def test_a_file_that_is_no_database_fails(migrated: Installation) -> None:
    migrated.database.write_bytes(b"this is not a database" * 100)
    assert migrated.doctor() == 1
    assert migrated.doctor_says["database"]["state"] == "missing"
    assert "can't be read" in migrated.doctor_says["database"]["detail"]


def test_a_postgresql_that_does_not_answer_fails_without_its_password(fresh: Installation) -> None:
    address = "postgres://someone:secret-word@127.0.0.1:1/tuning"
    done = fresh.manage("doctor", env={"DATABASE_URL": address})
    assert done.returncode == 1
    assert "✗ database" in done.stdout
    assert "mend DATABASE_URL" in done.stdout
    assert "secret-word" not in done.stdout + done.stderr


def test_a_redis_that_is_named_and_away_fails_without_its_password(fresh: Installation) -> None:
    done = fresh.manage("doctor", env={"REDIS_URL": NOBODY_LISTENS})
    assert done.returncode == 1
    assert "✗ Redis" in done.stdout
    assert "mend REDIS_URL" in done.stdout
    assert "secret-word" not in done.stdout + done.stderr


def test_a_redis_url_that_is_none_fails(fresh: Installation) -> None:
    assert fresh.doctor(REDIS_URL="localhost:6379") == 1
    assert fresh.doctor_says["Redis"]["state"] == "missing"


def test_a_redis_that_answers_is_told_with_version_and_latency(
    fresh: Installation, redis_url: str
) -> None:
    assert fresh.doctor(REDIS_URL=redis_url) == 0
    redis = fresh.doctor_says["Redis"]
    assert redis["state"] == "ok"
    assert re.fullmatch(r"valkey 9[\d.]+, redis://\S+, PING [\d.]+ ms", redis["detail"])


@pytest.mark.parametrize("name", ["logs", "results", "engines", "tokenizers"])
def test_a_file_where_a_directory_has_to_be_fails(fresh: Installation, name: str) -> None:
    fresh.data_dir.mkdir()
    (fresh.data_dir / name).write_text("in the way")
    assert fresh.doctor() == 1
    directory = fresh.doctor_says["data directory"]
    assert directory["state"] == "missing"
    assert f"{name} is no directory" in directory["detail"]


def test_a_model_directory_that_was_named_has_to_be_there(
    fresh: Installation, tmp_path: Path
) -> None:
    models = tmp_path / "elsewhere"
    assert fresh.doctor(AUTOTUNER_MODEL_PATH=str(models)) == 1
    assert fresh.doctor_says["model directory"]["state"] == "missing"
    (models / "family").mkdir(parents=True)
    (models / "family" / "small.gguf").touch()
    assert fresh.doctor(AUTOTUNER_MODEL_PATH=str(models)) == 0
    assert "1 .gguf files" in fresh.doctor_says["model directory"]["detail"]


def test_a_llama_server_that_was_named_has_to_be_there(fresh: Installation) -> None:
    assert fresh.doctor(AUTOTUNER_LLAMA_SERVER="/no/such/llama-server") == 1
    assert fresh.doctor_says["llamacpp"]["state"] == "missing"
