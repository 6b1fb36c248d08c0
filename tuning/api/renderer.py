"""Answers as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja.renderers import JSONRenderer
from ninja.responses import NinjaJSONEncoder

from tuning.documents.document import spelled


class _Encoder(NinjaJSONEncoder):
    """Times as in every document; Django's own encoder cuts off the microseconds."""

    def default(self, value: Any) -> Any:
        return spelled(value) if isinstance(value, datetime) else super().default(value)


class Renderer(JSONRenderer):
    encoder_class = _Encoder
