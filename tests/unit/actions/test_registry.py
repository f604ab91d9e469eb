"""Names, parameters and plug-ins."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from app.actions.context import ActionContext
from app.actions.registry import (
    ActionRegistrationError,
    Registry,
    action_of,
    from_function,
    standard_registry,
)
from app.actions.runner import run
from app.core.errors import InvalidInput, RequestRefused
from app.core.states import State

HTTP = (
    'url, method="GET", params=null, body=null, json=null, headers=null, cookies=null, '
    "auth=null, timeout=null, allow_redirects=null, proxies=null, verify=null"
)
INPUTS = {
    "std.async_noop": "",
    "std.echo": "output, delay=0",
    "std.email": "from_addr, to_addrs, smtp_server, reply_to=null, cc_addrs=null, bcc_addrs=null,"
    " smtp_password=null, subject=null, body=null, html_body=null",
    "std.fail": "error_data=null",
    "std.http": HTTP,
    "std.javascript": "script, context=null",
    "std.js": "script, context=null",
    "std.mistral_http": HTTP,
    "std.noop": "",
    "std.sleep": "seconds=1",
    "std.ssh": 'cmd, host, username, password="", private_key_filename=null, private_key=null,'
    " return_result_on_error=false",
    "std.ssh_proxied": "cmd, host, username, private_key_filename, gateway_host,"
    " gateway_username=null, password=null, proxy_command=null, private_key=null",
    "std.test_dict": 'size=0, key_prefix="", val=""',
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return standard_registry(plugins=False)


def test_the_standard_actions_have_mistrals_names_and_parameters(registry: Registry):
    assert {each.name: each.input_summary for each in registry.all()} == INPUTS


def test_a_wrong_input_names_what_is_missing_and_what_is_too_much(registry: Registry):
    with pytest.raises(InvalidInput) as caught:
        registry.get("std.echo").check_input({"foo": 1})
    assert str(caught.value) == (
        "Invalid input [name=std.echo, class=mistral.actions.std_actions.EchoAction, "
        "missing=['output'], unexpected=['foo']]"
    )
    registry.get("std.echo").check_input({"output": None})


def test_http_takes_one_body(registry: Registry):
    with pytest.raises(RequestRefused, match="Only one of the parameters 'json' and 'body'"):
        registry.get("std.http").check_input({"url": "x", "json": 1, "body": "a"})


@pytest.mark.parametrize(
    "name, input, inline",
    [
        ("std.noop", {}, True),
        ("std.echo", {"output": 1}, True),
        ("std.echo", {"output": 1, "delay": "nonsense"}, True),
        ("std.echo", {"output": 1, "delay": 0.5}, False),
        ("std.fail", {}, True),
        ("std.test_dict", {"size": 10}, True),
        ("std.test_dict", {"size": 10**6}, False),
        ("std.sleep", {"seconds": 0}, False),
        ("std.http", {"url": "http://x"}, False),
    ],
)
def test_only_what_does_not_wait_may_run_in_the_engine(registry, name, input, inline):
    assert registry.get(name).may_run_inline(input) is inline


def test_every_celery_task_is_an_action_and_an_unknown_name_is_none(registry: Registry):
    found = registry.get("celery.shop.charge")
    assert found.asynchronous
    found.check_input({"anything": 1})
    assert registry.find("celery.") is None
    with pytest.raises(RequestRefused, match=r"Failed to find action \[action_name=acme.x\]"):
        registry.get("acme.x")


def greet(name: str, greeting: str = "Hello", *, context=None) -> str:
    """Say hello."""
    return f"{greeting} {name} from {context.workflow_name}"


class Deploy:
    """Deploys."""

    def __init__(self, host, retries=3):
        self.host = host
        self.retries = retries

    def run(self, context):
        return {"host": self.host, "by": context.execution.workflow_name}

    def is_sync(self):
        return True


class Order:
    def run(self):
        return "ordered"

    def is_sync(self):
        return False


class Result:
    """As mistral-lib's."""

    def __init__(self, data=None, error=None, cancel=False):
        self.data, self.error, self.cancel = data, error, cancel


def test_a_plain_function_is_an_action_and_its_keywords_are_the_input():
    action = action_of("acme.greet", greet)
    assert action.input_summary == 'name, greeting="Hello"'
    assert action.description == "Say hello."
    context = ActionContext(workflow_name="w")
    assert run(action, {"name": "you"}, context).value == "Hello you from w"
    with pytest.raises(InvalidInput):
        action.check_input({"name": "you", "context": {}})


def test_a_class_with_run_is_an_action_as_in_mistral():
    action = action_of("acme.deploy", Deploy)
    assert action.input_summary == "host, retries=3"
    assert not action.asynchronous
    result = run(action, {"host": "h"}, ActionContext(workflow_name="w"))
    assert result.value == {"host": "h", "by": "w"}
    assert action_of("acme.order", Order).asynchronous


@pytest.mark.parametrize(
    "returned, state, value",
    [
        (Result(data=1), State.SUCCESS, 1),
        (Result(error={"code": 7}), State.ERROR, {"code": 7}),
        (Result(data=1, cancel=True), State.CANCELLED, None),
    ],
)
def test_mistrals_result_objects_are_understood(returned, state, value):
    result = run(from_function("acme.x", lambda: returned), {}, ActionContext())
    assert (result.state, result.value) == (state, value)


def test_an_exception_is_told_with_the_action_and_its_id():
    def broken():
        raise ValueError("no such card")

    result = run(from_function("acme.pay", broken), {}, ActionContext(action_execution_id="7"))
    assert result.value == (
        "The action raised an exception [action=acme.pay, action_ex_id=7, msg='no such card']"
    )


def test_a_name_is_registered_once_and_both_places_are_told():
    registry = Registry()
    registry.register(action_of("acme.greet", greet), source="one:greet")
    with pytest.raises(ActionRegistrationError) as caught:
        registry.register(action_of("acme.greet", greet), source="two:greet")
    assert "one:greet" in str(caught.value)
    assert "two:greet" in str(caught.value)


def test_a_broken_plug_in_is_named_and_the_others_are_loaded():
    points = [
        EntryPoint("acme.gone", "no_such_module:f", "celeriac.actions"),
        EntryPoint("std.echo", f"{__name__}:greet", "celeriac.actions"),
        EntryPoint("acme.number", f"{__name__}:NUMBER", "celeriac.actions"),
        EntryPoint("acme.pi", "math:sqrt", "celeriac.actions"),
    ]
    registry = Registry()
    registry.load_plugins(points)
    assert [each.name for each in registry.all()] == ["acme.pi"]
    assert len(registry.problems) == 3
    assert "'acme.gone' of no_such_module:f" in registry.problems[0]
    assert "reserved" in registry.problems[1]


NUMBER = 7
