"""The environment that a local engine gets: no secrets, and its own cards."""

from __future__ import annotations

from controllers.local import engine_environment, visible_cards
from controllers.processes import MARK


def test_an_engine_gets_no_secrets_but_the_hubs_token() -> None:
    own = {
        "DJANGO_SETTINGS_MODULE": "x",
        "DATABASE_URL": "x",
        "MY_API_KEY": "x",
        "GITHUB_TOKEN": "x",
        "PASSWORD": "x",
        MARK: "x",
        "HF_TOKEN": "hf",
        "TOKENIZERS_PARALLELISM": "false",
        "PATH": "/bin",
    }

    assert engine_environment(own) == {
        "HF_TOKEN": "hf",
        "TOKENIZERS_PARALLELISM": "false",
        "PATH": "/bin",
        "PYTHONUNBUFFERED": "1",
    }


def test_an_engine_sees_its_own_cards_alone() -> None:
    assert visible_cards((1, 3)) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "1,3",
    }
    assert visible_cards(()) == {}
