"""The messages that make a Celery task an action, and what comes back."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.broker import ENGINE_FOREIGN, ENGINE_QUEUE
from app.services.foreign import WrongInput, arguments_of, message_for
from workers.foreign import plain

REQUEST = {"id": "a1", "execution_id": "e1", "action": "celery.shop.charge", "attempt": 1}


def test_the_input_is_the_keywords_and_the_queue_goes_beside_it():
    message = message_for({**REQUEST, "input": {"queue": "shop", "card": "4", "args": [1]}})
    assert (message.task, message.queue, message.id) == ("shop.charge", "shop", "a1")
    assert (list(message.args), message.kwargs) == ([1], {"card": "4"})


def test_names_that_mean_something_to_us_go_to_the_task_through_kwargs():
    queue, args, kwargs, options = arguments_of(
        {"kwargs": {"queue": "theirs", "options": 1}, "options": {"priority": 3}, "x": 1}
    )
    assert (queue, args, options) == ("celery", [], {"priority": 3})
    assert kwargs == {"queue": "theirs", "options": 1, "x": 1}


def test_both_ends_of_the_task_come_back_to_the_engine_with_all_that_is_needed():
    options = message_for({**REQUEST, "input": {}}).options
    [success], [failure] = options["link"], options["link_error"]
    for each, outcome in ((success, "SUCCESS"), (failure, "ERROR")):
        assert each["task"] == ENGINE_FOREIGN
        assert each["options"]["queue"] == ENGINE_QUEUE
        assert each["kwargs"]["action_id"] == "a1"
        assert each["kwargs"]["execution_id"] == "e1"
        assert each["kwargs"]["outcome"] == outcome
    assert options["headers"]["celeriac"]["action_id"] == "a1"


@pytest.mark.parametrize(
    "input, message",
    [
        ({"args": "x"}, "args: expected a list, got str"),
        ({"queue": 7}, "queue: expected a text, got int"),
        ({"options": {"task_id": "x"}}, "options: task_id cannot be set"),
        ({"options": {"link": []}}, "options: link cannot be set"),
    ],
)
def test_a_wrong_input_ends_the_action_instead_of_calling_the_task(input, message):
    with pytest.raises(WrongInput) as caught:
        arguments_of(input)
    assert str(caught.value).startswith(message)
    sent = message_for({**REQUEST, "input": input})
    assert (sent.task, sent.queue) == (ENGINE_FOREIGN, ENGINE_QUEUE)
    assert sent.kwargs["error"].startswith(message)


def test_what_celery_knows_and_json_does_not_becomes_text():
    one = uuid.uuid4()
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert plain({"d": Decimal("1.50"), "t": [moment], "u": (one,), 1: {2}}) == {
        "d": "1.50",
        "t": ["2026-01-02T00:00:00+00:00"],
        "u": [str(one)],
        "1": [2],
    }
