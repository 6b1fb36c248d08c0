"""What is shown of genai-bench's output, and what is learned from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controllers.base import LoadPoint
from controllers.genai_bench import child as child_modules
from controllers.genai_bench.failure import (
    describe_exit,
    describe_failed_requests,
    missing_points,
)
from controllers.genai_bench.output import ASKS, Output, Redactor

HEAD = "INFO     2026-01-02 03:04:05.%f - genai_bench.benchmark:benchmark - "
START = f"{HEAD}Starting benchmark with concurrency=1, spawn_rate=1"
REFUSED = (
    "WARNING  2026-01-02 03:04:05.%f - genai_bench.user.base_user:collect_metrics - "
    "Received error response from server. Error code: 503, message: Connection error."
)


def shown(*lines: str, secret: str | None = None) -> list[str]:
    output = Output(Redactor(secret))
    return [line for taken in lines for line in output.follow(taken)]


def telling_line_of(*lines: str) -> str | None:
    output = Output(Redactor(None))
    for line in lines:
        output.follow(line)
    return output.most_telling_line()


@pytest.mark.parametrize("secret", ["sk-1", 'a"b\\c', "schlüssel"])
def test_a_secret_is_hidden_however_json_spells_it(secret: str) -> None:
    redact = Redactor(secret)
    for text in (secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False)):
        assert redact(f"<{text}>").strip('<>"') == "***"


def test_without_a_secret_nothing_is_hidden() -> None:
    assert Redactor(None)("None of it") == "None of it"
    assert Redactor("")("None of it") == "None of it"


def test_lines_that_hold_nothing_are_not_shown() -> None:
    noise = "0th request has NoneType value in metric audio_throughput."
    assert shown(noise, "", f"{HEAD}aws_region: None", f"{HEAD}task: text-to-text") == [
        f"{HEAD}task: text-to-text"
    ]


def test_only_the_first_failed_requests_of_each_point_are_shown() -> None:
    lines = shown(START, *[REFUSED] * 500, START, REFUSED)
    assert lines.count(REFUSED) == 4
    assert len(lines) == 7
    assert "not shown" in lines[4]


def test_points_are_counted_as_they_are_asked_for() -> None:
    output = Output(Redactor(None))
    assert [output.follow(line) for line in (ASKS, START, ASKS)] == [[], [START], []]
    assert (output.points_started, output.points_asked_for) == (1, 2)


def test_what_asks_is_what_is_understood() -> None:
    """The launcher is a script of its own, from which nothing can be imported here."""
    launcher = Path(child_modules.__file__).with_name("launcher.py").read_text()
    assert f'ASKS = "{ASKS}"' in launcher


def test_the_exception_tells_more_than_the_lines_around_it() -> None:
    assert telling_line_of(
        START, "Traceback (most recent call last):", "OSError: no tokenizer"
    ) == ("OSError: no tokenizer")
    assert telling_line_of(f"ERROR    {HEAD[9:]}it broke", "bye") == "it broke"
    assert telling_line_of("Error: Invalid value for '--task'", "") == (
        "Error: Invalid value for '--task'"
    )
    assert telling_line_of("Killed", "") == "Killed"
    assert telling_line_of() is None


def test_a_failure_names_some_missing_points_and_counts_the_rest() -> None:
    points = [LoadPoint("D(16,8)", level, repeat) for repeat in (0, 1) for level in (1, 2, 4)]
    message = missing_points(points, 2, describe_exit(1), ["x" * 5000]).message
    assert message.startswith("genai-bench ended with exit code 1 without a result for D(16,8) at")
    assert (
        "concurrency 4, repeat 1 of 2; D(16,8) at concurrency 1, repeat 2 of 2; 2 more" in message
    )
    assert len(message) < 1000


def test_a_failure_before_any_point_was_wanted_says_so() -> None:
    message = missing_points([], 1, describe_exit(2), []).message
    assert message == "genai-bench ended with exit code 2 without a result for any load point"


def test_a_repeat_that_was_not_planned_is_told_from_the_first() -> None:
    again = LoadPoint("D(16,8)", 4, repeat=1)
    assert missing_points([again], 1, "It ended", []).message.endswith("concurrency 4, repeat 2")


def test_a_signal_is_named() -> None:
    assert describe_exit(-9) == "genai-bench was killed by SIGKILL"


def test_failed_requests_are_counted_by_code_and_hold_no_part_of_the_key(tmp_path: Path) -> None:
    long_message = "x" * 190 + "sk-secret-key is wrong"
    requests = [
        {"error_code": 401, "error_message": long_message},
        {"error_code": 503, "error_message": "refused"},
        {"error_code": 401, "error_message": "again"},
        {"error_code": None, "ttft": 0.1},
    ]
    debug = tmp_path / "debug_for_run_D16_8_1.json"
    debug.write_text(json.dumps({"individual_request_metrics": requests}))
    (tmp_path / "debug_broken.json").write_text('{"individual')
    text = describe_failed_requests(sorted(tmp_path.iterdir()), Redactor("sk-secret-key"))
    assert text
    assert text.startswith("Failed requests: 2 x 401 (xxx")
    assert text.endswith("1 x 503 (refused)")
    assert "sk-" not in text
    assert describe_failed_requests([], Redactor(None)) is None
