"""A small identity provider on loopback: the code flow with PKCE, real signatures, and whatever lie a test asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

CLIENT, SECRET = "rungs", "a client's secret"
Twist = Callable[[dict[str, Any], "Provider"], str | None]


class Provider:
    """The provider. `person` is who logs in next; `twist` may sign something else than it should."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Any] = {"k1": rsa.generate_private_key(65537, 2048)}
        self.person: dict[str, Any] = {"sub": "7", "preferred_username": "ann"}
        self.twist: Twist | None = None
        self._codes: dict[str, dict[str, str]] = {}
        self.app = FastAPI()
        self.app.get("/.well-known/openid-configuration")(self.metadata)
        self.app.get("/authorize")(self.authorize)
        self.app.post("/token")(self.token)
        self.app.get("/jwks")(self.jwks)

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA", "HS256", "none"],
        }

    def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["client_id"] == CLIENT and asked["code_challenge_method"] == "S256" and "openid" in asked["scope"]
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def token(self, request: Request) -> Response:
        form = dict(await request.form())
        asked = self._codes.pop(str(form.get("code")), None)
        digest = hashlib.sha256(str(form.get("code_verifier")).encode()).digest()
        proved = asked and base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if not asked or not proved or request.headers.get("authorization") != f"Basic {basic}":
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.person}
        token = self.twist(claims, self) if self.twist else self.sign(claims)
        body = {"access_token": "at", "token_type": "Bearer", "expires_in": 300}
        return JSONResponse(body | ({"id_token": token} if token is not None else {}))

    def jwks(self) -> dict[str, Any]:
        return {"keys": [self._public(kid) for kid in self.keys]}

    def sign(self, claims: dict[str, Any], kid: str = "k1", key: Any = None) -> str:
        key = key or self.keys[kid]
        return jwt.encode(claims, key, algorithm=algorithm_of(key)[0], headers={"kid": kid})

    def _public(self, kid: str) -> dict[str, Any]:
        name, kind = algorithm_of(self.keys[kid])
        told = json.loads(kind.to_jwk(self.keys[kid].public_key()))
        return {**told, "kid": kid, "alg": name, "use": "sig"}


def algorithm_of(key: Any) -> tuple[str, Any]:
    """What a private key signs with."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ES256", jwt.algorithms.ECAlgorithm
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA", jwt.algorithms.OKPAlgorithm
    return "RS256", jwt.algorithms.RSAAlgorithm
