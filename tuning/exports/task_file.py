"""The task file itself, to be kept, changed and imported again."""

from __future__ import annotations

import json

from tuning.exports.export import JSON_TYPE, YAML_TYPE, Export, filename
from tuning.exports.yaml_text import to_yaml
from tuning.models import Task


def task_as_json(task: Task) -> Export:
    text = json.dumps(task.parsed_spec().to_document(), indent=2, ensure_ascii=False)
    return Export(f"{text}\n", JSON_TYPE, filename(task, "", "json"))


def task_as_yaml(task: Task) -> Export:
    text = to_yaml(task.parsed_spec().to_document())
    return Export(text, YAML_TYPE, filename(task, "", "yaml"))
