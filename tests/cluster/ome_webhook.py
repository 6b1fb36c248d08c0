"""OME's validating webhook, as far as names go: the API server really asks it."""

from __future__ import annotations

import base64
import re
import ssl
from typing import Any

from aiohttp import web

from tests.cluster.api import Api
from tests.cluster.certificates import Authority

NAME = "inferenceservice.ome-webhook-server.validator"
_PATTERN = "[a-z]([-a-z0-9]*[a-z0-9])?"


class NameWebhook:
    """Refuses an InferenceService whose name OME refuses."""

    def __init__(self, api: Api, authority: Authority) -> None:
        self._api = api
        self._authority = authority
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post("/validate", self._review)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        pair = self._authority.issue("ome-webhook")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.certificate, pair.key)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        await self._api.create(self._configuration(self._runner.addresses[0][1]))

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _configuration(self, port: int) -> dict[str, Any]:
        authority = self._authority.pair.certificate.read_bytes()
        webhook = {
            "name": NAME,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "clientConfig": {
                "url": f"https://127.0.0.1:{port}/validate",
                "caBundle": base64.b64encode(authority).decode(),
            },
            "rules": [
                {
                    "apiGroups": ["ome.io"],
                    "apiVersions": ["v1beta1"],
                    "operations": ["CREATE"],
                    "resources": ["inferenceservices"],
                }
            ],
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "inferenceservice.ome.io"},
            "webhooks": [webhook],
        }

    async def _review(self, request: web.Request) -> web.Response:
        review = (await request.json())["request"]
        name = review["object"]["metadata"].get("name", "")
        answer: dict[str, Any] = {"uid": review["uid"], "allowed": True}
        if not re.fullmatch(_PATTERN, name):
            message = f'invalid InferenceService name "{name}", must match "{_PATTERN}"'
            answer |= {"allowed": False, "status": {"message": message, "code": 403}}
        return web.json_response(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
        )
