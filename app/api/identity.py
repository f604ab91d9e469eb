"""Who asks, as the headers of a request tell it in each mode of authentication."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable

from flask import Request

from app.config import Config, ConfigError
from app.services.actors import DEFAULT_PROJECT, Actor

from .errors import Unauthorized

Authenticate = Callable[[Request], Actor]


def authentication(config: Config) -> Authenticate:
    """What tells the actor of a request in the mode that *config* sets."""
    if config.auth_mode == "none":
        return _unauthenticated(config.insecure)
    if config.auth_mode == "token":
        return _tokens(config.auth_tokens)
    raise ConfigError(
        f"CELERIAC_AUTH_MODE: {config.auth_mode!r} is not supported; expected none or token"
    )


def _unauthenticated(insecure: bool) -> Authenticate:
    """Everybody is who they say: roles are believed. Only for callers on this machine.

    Projects are not: whatever ``X-Project-Id`` says, all belongs to the default project.
    """

    def authenticate(request: Request) -> Actor:
        if not insecure and not _local(request.remote_addr):
            raise Unauthorized(
                "Authentication is off, so only callers on this machine are served; "
                "set CELERIAC_AUTH_MODE, or CELERIAC_INSECURE to serve everybody"
            )
        roles = request.headers.get("X-Roles")
        if not roles:
            return _NOBODY
        return Actor(
            project_id=DEFAULT_PROJECT,
            roles=frozenset(role.strip() for role in roles.split(",") if role.strip()),
            user_id=request.headers.get("X-User-Id"),
        )

    return authenticate


_NOBODY = Actor()


def _local(address: str | None) -> bool:
    # A caller over a Unix socket has no address.
    if not address:
        return True
    try:
        found = ipaddress.ip_address(address)
        # One of version 4 at a socket of version 6.
        return (getattr(found, "ipv4_mapped", None) or found).is_loopback
    except ValueError:
        return False


def _tokens(table: str) -> Authenticate:
    """Callers carry a token in ``X-Auth-Token`` or as a bearer; *table* knows its digest.

    No other header about the caller is believed.
    """
    actors = {}
    for number, line in enumerate(table.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) not in (2, 3, 4) or len(words[0]) != 64:
            raise ConfigError(
                f"CELERIAC_AUTH_TOKENS, line {number}: expected the SHA-256 of a token, a project, "
                "roles with commas between them, and a user"
            )
        roles = words[2] if len(words) > 2 else ""
        actors[words[0].lower()] = Actor(
            project_id=words[1],
            roles=frozenset(role for role in roles.split(",") if role and role != "-"),
            user_id=words[3] if len(words) > 3 else None,
        )
    if not actors:
        raise ConfigError(
            "CELERIAC_AUTH_TOKENS: expected at least one line when CELERIAC_AUTH_MODE is token"
        )

    def authenticate(request: Request) -> Actor:
        token = request.headers.get("X-Auth-Token") or ""
        if not token:
            kind, _, rest = request.headers.get("Authorization", "").partition(" ")
            token = rest.strip() if kind.lower() == "bearer" else ""
        if not token:
            raise Unauthorized("Failed to validate access token: Authentication required")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        found = None
        for known, actor in actors.items():
            # All are compared, in the same time each, whatever is sent.
            if hmac.compare_digest(known, digest):
                found = actor
        if found is None:
            raise Unauthorized("Failed to validate access token: Auth token is invalid")
        return found

    return authenticate
