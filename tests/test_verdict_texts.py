"""What people read of a verdict."""

from __future__ import annotations

from typing import Any

import pytest

from tuning import formatting
from tuning.domain.verdict import Finding, GainVerdict, Reference

EN_DASH = "\N{EN DASH}"


def verdict(finding: Finding, **fields: Any) -> GainVerdict:
    known: dict[str, Any] = {"number": 7, "against_number": 0, "rounds": 3}
    return GainVerdict("output_throughput_tokens_per_s", finding, **known | fields)


@pytest.mark.parametrize(
    ("found", "text", "brief"),
    [
        (
            verdict(Finding.BETTER, gain=0.234, low=0.18, high=0.29),
            f"better by 23 % (95 % CI 18{EN_DASH}29 %, 3 rounds)",
            "+23 % (18 to 29)",
        ),
        (
            verdict(Finding.BETTER, gain=0.034, low=0.004, high=0.062),
            f"better by 3.4 % (95 % CI 0.4{EN_DASH}6.2 %, 3 rounds)",
            "+3.4 % (0.4 to 6.2)",
        ),
        (
            verdict(Finding.WORSE, gain=-0.12, low=-0.16, high=-0.08),
            f"worse by 12 % (95 % CI 8.0{EN_DASH}16 %, 3 rounds)",
            "-12 % (-16 to -8.0)",
        ),
        (
            verdict(Finding.NO_DIFFERENCE, gain=0.01, low=-0.02, high=0.04),
            "no difference (95 % CI -2.0 to +4.0 %, 3 rounds)",
            "no difference",
        ),
        (
            verdict(Finding.UNSTABLE, gain=0.1, reason="measurements vary by 12%"),
            "unstable: measurements vary by 12%",
            "unstable",
        ),
        (verdict(Finding.NOT_VERIFIED, gain=0.33), "+33 %, not verified", "+33 %, not verified"),
        (
            verdict(Finding.NOT_VERIFIED, reason="the task was cancelled"),
            "not verified; the task was cancelled",
            "not verified",
        ),
        (
            verdict(Finding.BETTER, gain=0.5, low=0.4, high=0.6, failed_requests=2),
            f"better by 50 % (95 % CI 40{EN_DASH}60 %, 3 rounds); "
            "2 of the winner's requests failed",
            "+50 % (40 to 60), 2 failed",
        ),
        (
            verdict(Finding.BETTER, gain=0.5, low=0.4, high=0.6, against=Reference.RUNNER_UP),
            f"better by 50 % (95 % CI 40{EN_DASH}60 %, 3 rounds)",
            "+50 % (40 to 60), over the runner-up",
        ),
        (
            verdict(Finding.BETTER, gain=0.5, low=0.4, high=0.6, reason="measured on 2 hosts"),
            f"better by 50 % (95 % CI 40{EN_DASH}60 %, 3 rounds); measured on 2 hosts",
            "+50 % (40 to 60)",
        ),
    ],
)
def test_a_finding_in_words(found: GainVerdict, text: str, brief: str) -> None:
    assert formatting.verdict(found) == text
    assert formatting.brief_verdict(found) == brief


def test_a_sentence_says_what_was_compared() -> None:
    better = verdict(Finding.BETTER, gain=0.5, low=0.4, high=0.6)
    other = verdict(Finding.NO_DIFFERENCE, gain=0, low=-0.1, high=0.1, against=Reference.RUNNER_UP)

    assert formatting.verdict_sentence(better).startswith(
        "Measured again in turn with the baseline, experiment 7 is better by 50 %"
    )
    assert "with experiment 0, the runner-up, experiment 7 shows no difference" in (
        formatting.verdict_sentence(other)
    )


def test_without_verification_the_sentence_says_so() -> None:
    running = verdict(Finding.NOT_VERIFIED, gain=0.3)
    cancelled = verdict(Finding.NOT_VERIFIED, reason="it was cancelled", failed_requests=1)

    assert formatting.verdict_sentence(running) == "The gain is not verified yet."
    assert formatting.verdict_sentence(cancelled) == (
        "The gain is not verified: it was cancelled. 1 of the winner's requests failed."
    )


def test_failed_requests_are_marked_only_where_there_are_some() -> None:
    assert formatting.failed_requests(0, 100) == ""
    assert formatting.failed_requests(3, 1_200) == "3 of 1,200 requests failed"
