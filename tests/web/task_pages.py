"""The page of a task as tests read it."""

from __future__ import annotations

import re

from django.test import Client


def page_of(client: Client, task_id: int, query: str = "", **headers: str) -> str:
    response = client.get(f"/tasks/{task_id}/{query}", headers=headers)
    assert response.status_code == 200
    page: str = response.content.decode()
    return page


def numbers_in(page: str) -> list[int]:
    """The experiments in the table, from top to bottom."""
    return [int(number) for number in re.findall(r'id="experiment-(\d+)"', page)]


def row_of(page: str, number: int) -> str:
    rows: list[str] = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    return next(row for row in rows if f'id="experiment-{number}"' in row)
