"""YAML and shell texts say what they were made from, whatever the values."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import yaml

from tuning.exports.names import dns_name
from tuning.exports.shell_text import by_flag, script
from tuning.exports.yaml_text import to_yaml

NASTY = (
    *("two words", "it's", 'say "hi"', "$HOME", "$(id)", "`id`", "a\\b", "back\\", "naïve ✓", ""),
    *("-1", "--", "1e-07", "0x1F", "007", "12:30:45", "true", "no", "Null", "~", "y", "n", "#x"),
    *("line\nbreak", "tab\t", "a: b", "- a", "{a}", "*a", "!a", "%a", "@a", "|", ">", "x" * 300),
)
# A plain scalar that some parser of YAML 1.1 or 1.2 could take for something other than text.
AMBIGUOUS = re.compile(r"[-+.0-9].*|~|y|n|yes|no|on|off|true|false|null", re.IGNORECASE)


def test_yaml_reads_back_as_the_same_values() -> None:
    document = {"texts": list(NASTY), "others": [1, -2, 1e-07, 1e20, True, None, [], {}]}

    assert yaml.safe_load(to_yaml(document)) == document


@pytest.mark.parametrize("text", [text for text in NASTY if AMBIGUOUS.fullmatch(text)])
def test_text_that_could_be_something_else_is_in_quotes(text: str) -> None:
    assert to_yaml({"key": text}).startswith('key: "')


def test_the_order_of_keys_and_repeated_values_stay() -> None:
    gpus = {"two": 1, "one": 2}

    text = to_yaml({"requests": gpus, "limits": gpus})
    assert text == "requests:\n  two: 1\n  one: 2\nlimits:\n  two: 1\n  one: 2\n"


def test_a_shell_gets_every_word_as_it_was() -> None:
    text = script(by_flag(["show", *NASTY, "--flag", "$x", "--other"]), ["a comment"])
    show = "show() { printf '%s\\0' \"$@\"; }\n"
    done = subprocess.run(["sh", "-c", show + text], capture_output=True, check=True)

    words = done.stdout.decode().split("\0")[:-1]
    assert words == [*NASTY, "--flag", "$x", "--other"]


def test_each_flag_has_a_line_of_its_own() -> None:
    text = script(by_flag(["engine", "serve", "--a", "1", "--b", "--c", "x y"]), ["why"])

    assert text.splitlines() == [
        *("#!/bin/sh", "# why", "engine serve \\", "  --a 1 \\", "  --b \\", "  --c 'x y'")
    ]
    assert shlex.split(text.replace(" \\\n", " "), comments=True)[0] == "engine"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama-llama-3-1-8b"),
        ("7b chat", "model-7b-chat"),
        ("Ünïcode ✓", "unicode"),
        ("✓ 漢字", "model"),
        ("", "model"),
        ("--x--", "x"),
        ("a" * 62 + "--b", "a" * 62),
    ],
)
def test_names_are_dns_labels(text: str, name: str) -> None:
    assert dns_name(text, "model") == name
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 63
