"""Addresses of the websockets."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from channels.security.websocket import WebsocketDenier
from django.urls import path, re_path

from tuning.realtime.consumers import NO_LAYER, LogConsumer, OverviewConsumer, TaskConsumer

# It answers a handshake with 403, here and for a foreign origin. Listening to the channel layer
# meanwhile, it would fail with a traceback whenever the layer is away.
WebsocketDenier.channel_layer_alias = NO_LAYER


def _application(consumer: type[AsyncWebsocketConsumer]) -> Any:
    """For `path`, which is annotated for Django's views alone."""
    return consumer.as_asgi()


_ADDRESSES: list[Any] = [
    path("ws/tasks/", _application(OverviewConsumer)),
    path("ws/tasks/<int:task_id>/", _application(TaskConsumer)),
    path("ws/tasks/<int:task_id>/logs/", _application(LogConsumer)),
    # Without it, the router raises on an unknown address.
    re_path("", _application(WebsocketDenier)),
]

websocket_router = URLRouter(_ADDRESSES)
