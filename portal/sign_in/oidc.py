"""OpenID Connect: the code flow with PKCE, and an id token that is checked by the provider's keys."""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from portal.sign_in.headers import THIS_MACHINE
from project.portal_settings import OidcSettings
from schemas.errors import ConfigurationError, HuaxiangError

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import OAuth2Client

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by a private key only: never none, never a shared secret."""
KNOWN_FOR_SECONDS = 3600.0
ANSWERS_WITHIN_SECONDS = 10.0
LEEWAY_SECONDS = 60
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class NotVouchedError(HuaxiangError):
    """The provider does not vouch for who asks, or its answer is not for us."""


@dataclass(frozen=True)
class Flow:
    """A sign-in that has begun, kept in the browser that began it: nobody else can end it."""

    state: str
    nonce: str
    verifier: str
    next: str

    def packed(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()

    @classmethod
    def unpacked(cls, text: str) -> Flow | None:
        try:
            found = json.loads(base64.urlsafe_b64decode(text.encode()))
            return cls(**{name: str(found[name]) for name in ("state", "nonce", "verifier", "next")})
        except (ValueError, KeyError, TypeError):
            return None


class Provider:
    """One provider; what it says of itself is asked once an hour."""

    def __init__(self, settings: OidcSettings):
        self.settings = settings
        self._lock = Lock()
        self._known: tuple[float, dict[str, Any], KeySet] | None = None

    def begin(self, redirect_uri: str, onward: str) -> tuple[str, Flow]:
        """Where to send the browser, and what it must bring back."""
        flow = Flow(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), onward)
        about, _ = self._about()
        with self._client(redirect_uri) as client:
            way, _ = client.create_authorization_url(
                about["authorization_endpoint"], state=flow.state, nonce=flow.nonce, code_verifier=flow.verifier
            )
        return str(way), flow

    def claims(self, redirect_uri: str, flow: Flow, given: Mapping[str, str]) -> dict[str, Any]:
        """What the provider says of who came back. NotVouchedError says why it is not believed."""
        if "error" in given:
            raise NotVouchedError(f"the provider refused: {given['error'][:100]}")
        if not given.get("code") or given.get("state") != flow.state:
            raise NotVouchedError("this sign-in was not begun in this browser, or was ended before; begin it again")
        about, keys = self._about()
        if given.get("iss", self.settings.issuer) != self.settings.issuer:
            raise NotVouchedError("the answer is another provider's")
        try:
            with self._client(redirect_uri) as client:
                token = client.fetch_token(
                    about["token_endpoint"],
                    grant_type="authorization_code",
                    code=given["code"],
                    code_verifier=flow.verifier,
                )
            return self._checked(token, flow, keys)
        except (httpx.HTTPError, JoseError, ValueError, KeyError) as e:
            raise NotVouchedError(f"the provider's answer is not believed ({type(e).__name__})") from e
        except Exception as e:
            if type(e).__module__.startswith("authlib"):
                raise NotVouchedError(f"the provider's answer is not believed ({type(e).__name__})") from e
            raise

    def _checked(self, token: Mapping[str, Any], flow: Flow, keys: KeySet) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken

        read = jwt.decode(token["id_token"], keys, algorithms=ALGORITHMS)
        claims = CodeIDToken(
            read.claims,
            read.header,
            options={
                "iss": {"essential": True, "value": self.settings.issuer},
                "sub": {"essential": True},
                "aud": {"essential": True, "value": self.settings.client_id},
                "exp": {"essential": True},
                "iat": {"essential": True},
                "nonce": {"essential": True, "value": flow.nonce},
            },
            params={
                "nonce": flow.nonce,
                "client_id": self.settings.client_id,
                "access_token": token.get("access_token"),
            },
        )
        claims.validate(leeway=LEEWAY_SECONDS)
        return dict(read.claims)

    def _client(self, redirect_uri: str) -> OAuth2Client:
        # Slow to import, and most portals have no provider.
        from authlib.integrations.httpx_client import OAuth2Client

        secret = os.environ.get(self.settings.client_secret)
        if not secret:
            raise ConfigurationError(f"portal.oidc: the client's secret is not in {self.settings.client_secret}")
        return OAuth2Client(
            self.settings.client_id,
            secret,
            scope=" ".join(self.settings.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=ANSWERS_WITHIN_SECONDS,
        )

    def _about(self) -> tuple[dict[str, Any], KeySet]:
        """What the provider says of itself, and its keys. ConfigurationError where it cannot be asked."""
        with self._lock:
            if self._known is None or time.monotonic() - self._known[0] > KNOWN_FOR_SECONDS:
                self._known = (time.monotonic(), *self._asked())
            return self._known[1], self._known[2]

    def _asked(self) -> tuple[dict[str, Any], KeySet]:
        issuer = self.settings.issuer.rstrip("/")
        try:
            with httpx.Client(timeout=ANSWERS_WITHIN_SECONDS) as client:
                about = client.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
                if about.get("issuer") != self.settings.issuer:
                    raise ConfigurationError(f"portal.oidc: {issuer} says that it is {about.get('issuer')!r:.100}")
                for name in NEEDED:
                    _refuse_in_clear(name, str(about[name]))
                keys = client.get(about["jwks_uri"]).raise_for_status().json()
            return about, KeySet.import_key_set(keys)
        except (httpx.HTTPError, ValueError, KeyError) as e:
            raise ConfigurationError(
                f"portal.oidc: {issuer} does not answer as a provider ({type(e).__name__})"
            ) from None


def _refuse_in_clear(name: str, address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in THIS_MACHINE:
        raise ConfigurationError(f"portal.oidc: {name} is {address}, which is not https")
