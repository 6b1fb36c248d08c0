"""The ASGI application: Django's pages, and the websockets of the live ones.

    daphne autotuner_site.asgi:application

A websocket is let in from a page of this site only (`AUTOTUNER_ALLOWED_HOSTS`): a browser sends
the session cookie along with whatever page opens it. Who may see what: `tuning.realtime.access`.
"""

from __future__ import annotations

import gc
import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")

# Sets Django up, which has to come before the first import of a model.
django_application = get_asgi_application()

from tuning.realtime.routing import websocket_router  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(websocket_router)),
    }
)

# What is loaded by now stays for good. Left among the objects that the collector looks through, it
# makes a full collection cost a page a tenth of a second now and then.
gc.collect()
gc.freeze()
