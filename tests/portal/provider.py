"""A real OpenID Connect provider on the loopback: Authlib's server, which lies where a test tells it to."""

from __future__ import annotations

import time
from threading import Thread
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, list_to_scope, scope_to_list
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode, UserInfo
from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

CLIENT, SECRET = "huaxiang", "a secret of the client"


class _Client(ClientMixin):  # type: ignore[misc]
    def __init__(self) -> None:
        self.redirect_uris: list[str] = []

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uris[0]

    def get_allowed_scope(self, scope: str) -> str:
        return str(list_to_scope([s for s in scope_to_list(scope) if s in ("openid", "profile", "email")]))

    def check_redirect_uri(self, uri: str) -> bool:
        return uri in self.redirect_uris

    def check_client_secret(self, secret: str) -> bool:
        return secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"

    def check_grant_type(self, kind: str) -> bool:
        return kind == "authorization_code"


class _Code:
    def __init__(self, user: dict[str, Any], asked: Any):
        self.user, self.redirect_uri, self.scope = user, asked.redirect_uri, asked.scope
        self.nonce = asked.data.get("nonce")
        self.code_challenge = asked.data.get("code_challenge")
        self.code_challenge_method = asked.data.get("code_challenge_method")

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class OidcServer:
    """``user`` is who has signed in there; ``lies`` are claims that the id token states instead of the true ones."""

    def __init__(self) -> None:
        self.user: dict[str, Any] = {"sub": "u-1", "preferred_username": "Wang", "name": "王", "groups": ["crm"]}
        self.lies: dict[str, Any] = {}
        self.key, self.signs_with = RSAKey.generate_key(2048, auto_kid=True), None
        self.client = _Client()
        self.codes: dict[str, _Code] = {}
        app = Flask("provider")
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._routes(app)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def id_token(self, claims: dict[str, Any]) -> str:
        header = {"alg": "RS256", "kid": self.key.kid}
        return jwt.encode(header, {**claims, **self.lies}, self.signs_with or self.key)

    def _routes(self, app: Flask) -> None:
        provider = self
        server = AuthorizationServer(app, query_client=lambda _: provider.client, save_token=lambda *_: None)

        class Grant(AuthorizationCodeGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012

            def save_authorization_code(self, code: str, asked: Any) -> None:
                provider.codes[code] = _Code(asked.user, asked.payload)

            def query_authorization_code(self, code: str, client: _Client) -> _Code | None:
                return provider.codes.get(code)

            def delete_authorization_code(self, found: _Code) -> None:
                provider.codes = {k: v for k, v in provider.codes.items() if v is not found}

            def authenticate_user(self, found: _Code) -> dict[str, Any]:
                return found.user

        class WithIdToken(OpenIDCode):  # type: ignore[misc]
            def exists_nonce(self, nonce: str, asked: Any) -> bool:
                return False

            def get_jwt_config(self, grant: Any, client: Any = None) -> dict[str, Any]:
                return {"key": provider.key, "alg": "RS256", "iss": provider.issuer, "exp": 600}

            def generate_user_info(self, user: dict[str, Any], scope: str) -> Any:
                return UserInfo(**user)

            def encode_id_token(self, token: Any, asked: Any) -> str:
                code = asked.authorization_code
                now = int(time.time())
                claims = {"iss": provider.issuer, "aud": CLIENT, "iat": now, "exp": now + 600, "nonce": code.nonce}
                return provider.id_token({**claims, **code.user})

        server.register_grant(Grant, [WithIdToken(require_nonce=True), CodeChallenge(required=True)])

        @app.get("/.well-known/openid-configuration")
        def about() -> Response:
            ways = {n: f"{self.issuer}/{n}" for n in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
            return jsonify({"issuer": self.issuer, **ways})

        @app.get("/jwks_uri")
        def keys() -> Response:
            return jsonify({"keys": [self.key.as_dict(private=False)]})

        @app.get("/authorization_endpoint")
        def authorize() -> Any:
            grant = server.get_consent_grant(end_user=self.user)
            return server.create_authorization_response(grant=grant, grant_user=self.user)

        @app.post("/token_endpoint")
        def token() -> Any:
            assert request.form["code_verifier"]
            return server.create_token_response()
