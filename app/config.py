"""Settings: one value, read once from the environment and checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

PREFIX = "CELERIAC_"


class ConfigError(Exception):
    """A setting is missing or cannot be used; the message says what was expected."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of Celeriac. ``docs/configuration.md`` has the same table for people."""

    #: SQLAlchemy URL; ``postgres://`` is understood.
    database_url: str = "sqlite:///celeriac.db"
    #: Where Celery's messages go: ``redis://`` or ``amqp://``.
    broker_url: str = "redis://127.0.0.1:6379/0"
    #: Redis for the ledger, RedBeat and live updates; the broker's when that is Redis.
    redis_url: str = ""
    #: Connections per process to the database.
    database_pool_size: int = 5

    # --- API -------------------------------------------------------------------------------
    #: ``none`` (no authentication; loopback only unless insecure is set) or ``token``.
    auth_mode: str = "none"
    #: Mode ``token``: a line for each token with its SHA-256 in hex, the project, the roles with
    #: commas between them, and the user. Best kept in a file: ``CELERIAC_AUTH_TOKENS_FILE``.
    auth_tokens: str = ""
    #: Listen beyond loopback without authentication.
    insecure: bool = False
    #: Largest page of a list.
    max_limit: int = 1000
    #: Most event streams that one web process serves; each takes one of its threads.
    max_streams: int = 8
    #: Largest request body in bytes.
    max_body_bytes: int = 16 * 1024 * 1024
    #: Whether ``DELETE /v2/action_executions/<id>`` works.
    allow_action_execution_deletion: bool = False
    #: JSON file that ``GET /info`` shows; empty: the endpoint is off.
    info_file: str = ""
    #: Comma separated origins that browsers may call from.
    cors_origins: tuple[str, ...] = ()
    #: Comma separated addresses of proxies that are believed when they say that they were asked
    #: over HTTPS (``X-Forwarded-Proto``), so that links say so too; ``*``: whoever calls.
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")

    # --- engine ----------------------------------------------------------------------------
    #: Largest input, output, params or published value in KiB; -1: no limit.
    field_size_limit_kb: int = 1024
    #: Most inline steps (actions run by the engine itself) in one transaction.
    inline_steps: int = 1000
    #: Most seconds of inline steps in one transaction.
    inline_seconds: float = 1.0
    #: Most events applied in one transaction.
    batch_size: int = 500
    #: Deepest nesting of sub-workflows.
    max_depth: int = 100
    #: Expression languages that may be used.
    allowed_languages: tuple[str, ...] = ("yaql", "jinja")
    #: A decision that breaks an invariant fails, instead of being written to the log: for tests.
    strict: bool = False
    #: Seconds that one expression may take.
    expression_seconds: float = 5.0

    # --- actions ---------------------------------------------------------------------------
    #: Seconds after which any action without a timeout of its own is stopped.
    action_time_limit: float = 3600.0
    #: Most actions of a target that run at once, in all executors together: ``vmware=2,db=5``.
    target_limits: tuple[str, ...] = ()
    #: Seconds a claim of a running action lasts unless renewed.
    lease_seconds: float = 15.0
    #: Seconds until a dispatched action that nobody claimed is looked at.
    dispatch_check_seconds: float = 10.0
    #: Seconds between two sweeps.
    sweep_interval: float = 5.0
    #: Largest result of an action in bytes.
    max_result_bytes: int = 5 * 1024 * 1024
    #: Only these hosts may be called by std.http and web hooks; empty: any.
    http_allowed_hosts: tuple[str, ...] = ()
    #: Networks that std.http and web hooks must not reach.
    http_denied_networks: tuple[str, ...] = (
        "127.0.0.0/8",
        "::1/128",
        "169.254.0.0/16",
        "fe80::/10",
        "0.0.0.0/8",
        "::/128",
        "224.0.0.0/4",
        "ff00::/8",
    )
    #: Seconds; 0: none.
    http_default_timeout: float = 60.0
    http_max_response_bytes: int = 5 * 1024 * 1024
    #: Actions written in Python in code sources may run (in executors only).
    dynamic_actions: bool = False
    #: Folder with one file per secret, for ``secret://name`` in the input of actions; a folder
    #: in it named like a project holds that project's own.
    secrets_dir: str = ""
    #: Folder with key files for std.ssh; empty: ``private_key_filename`` is refused.
    ssh_keys_dir: str = ""
    #: File with the hosts that std.ssh may speak with, as OpenSSH keeps it; empty: any.
    ssh_known_hosts: str = ""
    #: ``proxy_command`` of std.ssh_proxied, which runs a program on the executor, is allowed.
    ssh_proxy_command: bool = False

    # --- time and events -------------------------------------------------------------------
    cron_triggers: bool = True
    #: What happens to cron slots missed by more than a minute: ``once`` (one late start for all
    #: of them) or ``skip``.
    cron_catch_up: str = "once"
    #: Where event triggers listen: ``redis://`` (streams) or ``amqp://``; empty: streams of
    #: ``CELERIAC_REDIS_URL``.
    event_bus_url: str = ""
    #: YAML file that tells what workflows are told of events; empty: the usual four properties.
    event_definitions: str = ""
    #: Publishers for every execution: JSON list of objects.
    notify: str = ""
    #: Signs web hooks of publishers that have no ``secret`` of their own; empty: unsigned.
    notify_secret: str = ""
    #: Seconds after which what a notifier had in hand when it died is told by another; longer than
    #: any delivery takes, or it is told twice.
    notify_lease_seconds: float = 60.0
    #: How often a publisher is tried before an event becomes a dead letter.
    notify_max_attempts: int = 500
    #: Hours after which an event that no publisher took becomes a dead letter.
    notify_max_hours: float = 24.0
    #: Days after which events of finished executions are deleted; 0: never.
    event_retention_days: float = 30.0
    #: Minutes after which finished executions are deleted; 0: never.
    expiration_older_than: int = 0
    #: Most finished executions kept; 0: all.
    expiration_max_finished: int = 0
    #: States whose executions are never deleted so: SUCCESS, ERROR, CANCELLED.
    expiration_ignored_states: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        positive = (
            "database_pool_size", "max_limit", "max_streams", "max_body_bytes", "inline_steps",
            "inline_seconds", "batch_size", "max_depth", "expression_seconds",
            "action_time_limit", "lease_seconds", "notify_lease_seconds",
            "dispatch_check_seconds", "sweep_interval", "max_result_bytes",
            "http_max_response_bytes",
        )  # fmt: skip
        for name in positive:
            value = getattr(self, name)
            if value <= 0:
                raise ConfigError(
                    f"{PREFIX}{name.upper()}: expected a positive number, got {value}"
                )
        _choice("auth_mode", self.auth_mode, ("none", "token"))
        _choice("cron_catch_up", self.cron_catch_up, ("once", "skip"))
        self.limits_of_targets()
        object.__setattr__(self, "database_url", database_url(self.database_url))
        if not self.redis_url:
            if not self.broker_url.startswith(("redis://", "rediss://")):
                raise ConfigError(
                    f"{PREFIX}REDIS_URL: expected a redis:// URL, since the broker is no Redis"
                )
            object.__setattr__(self, "redis_url", self.broker_url)

    def limits_of_targets(self) -> dict[str, int]:
        """Target -> how many of its actions may run at once; raises ConfigError."""
        limits = {}
        for each in self.target_limits:
            target, _, number = each.rpartition("=")
            if not (target and number.isdecimal() and int(number) > 0):
                raise ConfigError(
                    f"{PREFIX}TARGET_LIMITS: expected target=number with commas, got {each!r}"
                )
            limits[target.strip()] = int(number)
        return limits

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """The settings that the environment holds; the only reader of it.

        ``CELERIAC_<NAME>`` sets a setting, ``CELERIAC_<NAME>_FILE`` names a file that holds it.
        Hosts that give ``DATABASE_URL``, ``REDIS_URL`` and ``FORWARDED_ALLOW_IPS`` are understood.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        types = get_type_hints(cls)
        for each in fields(cls):
            text = environ.get(PREFIX + each.name.upper())
            path = environ.get(f"{PREFIX}{each.name.upper()}_FILE")
            if text is None and path and each.name != "info":
                try:
                    text = Path(path).read_text().strip()
                except OSError as err:
                    raise ConfigError(f"{PREFIX}{each.name.upper()}_FILE: {err}") from err
            if text is not None:
                values[each.name] = _parse(each.name, types[each.name], text)
        if "database_url" not in values and environ.get("DATABASE_URL"):
            values["database_url"] = environ["DATABASE_URL"]
        if "trusted_proxies" not in values and environ.get("FORWARDED_ALLOW_IPS"):
            allowed = environ["FORWARDED_ALLOW_IPS"]
            values["trusted_proxies"] = _parse("trusted_proxies", types["trusted_proxies"], allowed)
        if environ.get("REDIS_URL"):
            values.setdefault("broker_url", environ["REDIS_URL"])
            values.setdefault("redis_url", environ["REDIS_URL"])
        return cls(**values)


def database_url(url: str) -> str:
    """*url* in SQLAlchemy's form, with psycopg as PostgreSQL's driver."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    if not url.startswith(("sqlite", "postgresql+psycopg://")):
        raise ConfigError(
            f"{PREFIX}DATABASE_URL: expected sqlite:///... or postgresql://..., "
            f"got {url.split(':')[0]}:..."
        )
    return url


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"{PREFIX}{name.upper()}: expected one of {', '.join(allowed)}, got {value!r}"
        )


def _parse(name: str, kind: Any, text: str) -> Any:
    try:
        if kind is bool:
            words = {"1": True, "true": True, "yes": True, "on": True}
            words |= {"0": False, "false": False, "no": False, "off": False, "": False}
            return words[text.strip().lower()]
        if kind in (int, float):
            return kind(text)
        if kind is str:
            return text
        return tuple(part.strip() for part in text.split(",") if part.strip())
    except (KeyError, ValueError):
        expected = {bool: "true or false", int: "an integer", float: "a number"}[kind]
        raise ConfigError(f"{PREFIX}{name.upper()}: expected {expected}, got {text!r}") from None


__all__ = ["Config", "ConfigError", "database_url"]
