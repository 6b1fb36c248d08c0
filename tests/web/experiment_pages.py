"""The page of an experiment as tests read it."""

from __future__ import annotations

from django.test import Client

from tuning.models import Experiment


def page_of(client: Client, experiment: Experiment, **headers: str) -> str:
    response = client.get(f"/experiments/{experiment.pk}/", headers=headers)
    assert response.status_code == 200
    return response.content.decode()
