"""The standard actions: their names, parameters and defaults are Mistral's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.actions.egress import Egress
from app.actions.registry import ActionType, from_function
from app.actions.std import simple
from app.actions.std.email import Email
from app.actions.std.http import HTTP, check_bodies
from app.actions.std.javascript import JavaScript
from app.actions.std.ssh import SSH
from app.config import Config

#: How Mistral's own classes are called; the names show in texts that users match on.
_CLASSES = "mistral.actions.std_actions"


def actions(config: Config) -> list[ActionType]:
    """Every standard action, set up for *config*."""
    egress = Egress.from_config(config)
    http = HTTP(
        egress,
        default_timeout=config.http_default_timeout,
        max_bytes=config.http_max_response_bytes,
    )
    email = Email(egress)
    javascript = JavaScript()
    ssh = SSH(
        egress,
        keys=Path(config.ssh_keys_dir) if config.ssh_keys_dir else None,
        known_hosts=Path(config.ssh_known_hosts) if config.ssh_known_hosts else None,
        proxy_commands=config.ssh_proxy_command,
        max_bytes=config.max_result_bytes,
    )
    return [
        _std("std.ssh", ssh.run, "SSHAction"),
        _std("std.ssh_proxied", ssh.run_proxied, "SSHProxiedAction"),
        _std("std.email", email.send, "SendEmailAction"),
        *(_std(name, javascript.run, "JavaScriptAction") for name in ("std.javascript", "std.js")),
        _std("std.noop", simple.noop, "NoOpAction", inline=True),
        _std(
            "std.async_noop", simple.async_noop, "AsyncNoOpAction", asynchronous=True, inline=True
        ),
        _std("std.echo", simple.echo, "EchoAction", inline=True, inline_when=simple.echo_at_once),
        _std("std.fail", simple.fail, "FailAction", inline=True, shown_as="Fail action"),
        _std("std.sleep", simple.sleep, "SleepAction"),
        _std(
            "std.test_dict",
            simple.same_values,
            "TestDictAction",
            inline=True,
            inline_when=simple.same_values_are_few,
        ),
        _std("std.http", http.request, "HTTPAction", check=check_bodies),
        _std(
            "std.mistral_http",
            http.request_with_callback,
            "MistralHTTPAction",
            check=check_bodies,
            asynchronous=True,
            wants_context=True,
        ),
    ]


def _std(
    name: str, function: Callable[..., Any], class_name: str, *, shown_as: str = "", **options: Any
) -> ActionType:
    path = f"{_CLASSES}.{class_name}"
    options.setdefault("wants_context", False)
    # Mistral shows the address of an object, which nobody can match on; the zero is a fixed one.
    shown = shown_as or f"<{path} object at 0x0>"
    return from_function(name, function, class_name=path, shown_as=shown, **options)
