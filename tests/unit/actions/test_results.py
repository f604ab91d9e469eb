"""What can be stored as a result, and secrets that must not be."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.actions.results import NotJSON, to_json
from app.actions.secrets import MASK, SecretNotFound, Secrets, masking


@pytest.mark.parametrize(
    "value, text",
    [
        ({"a": (1, 2)}, '{"a":[1,2]}'),
        (b"bytes", '"bytes"'),
        ("nul\x00and\ud800half", '"nul\\ufffdand\\ufffdhalf"'),
        ({"k\x00": "\U0001f600"}, '{"k\\ufffd":"\\ud83d\\ude00"}'),
        ({1: None}, '{"1":null}'),
    ],
)
def test_values_become_json_that_every_database_can_hold(value, text):
    assert to_json(value) == text


@pytest.mark.parametrize("value", [object(), {1, 2}, b"\xff", float("nan"), {"a": [object()]}])
def test_what_is_no_json_is_refused_with_a_reason(value):
    with pytest.raises(NotJSON):
        to_json(value)


def test_what_contains_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(NotJSON):
        to_json(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abc"), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_survives_unchanged(value):
    assert json.loads(to_json(value)) == value


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    (tmp_path / "token").write_text("s3cr3t-token\n")
    (tmp_path / "pin").write_text("12")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "token").write_text("the shop's own")
    return Secrets(str(tmp_path))


def test_a_reference_becomes_the_value_also_inside_of_a_text(secrets: Secrets):
    resolved, mask = secrets.resolve(
        {"auth": "user:secret://token", "list": ["secret://pin"], "n": 1}, None
    )
    assert resolved == {"auth": "user:s3cr3t-token", "list": ["12"], "n": 1}
    assert mask is not None


def test_a_project_has_secrets_of_its_own(secrets: Secrets):
    assert secrets.get("token", "shop") == "the shop's own"
    assert secrets.get("token", "other") == "s3cr3t-token"
    assert secrets.get("token", "../shop") == "s3cr3t-token"


@pytest.mark.parametrize("name", ["none", "../token", "shop/token", ""])
def test_an_unknown_name_is_told_and_nothing_else(secrets: Secrets, name):
    with pytest.raises(SecretNotFound, match="The executor knows no secret"):
        secrets.get(name, None)


def test_input_without_references_is_handed_on(secrets: Secrets):
    given_input = {"url": "https://x"}
    assert secrets.resolve(given_input, None) == (given_input, None)


def test_values_are_masked_in_all_forms_they_travel_in():
    mask = masking(["p/ss word", "abc"])
    encoded = base64.b64encode(b"p/ss word").decode()
    assert mask({"a": ["x p/ss word y", "p%2Fss%20word"], "p/ss word": encoded, "b": "abc"}) == {
        "a": [f"x {MASK} y", MASK],
        MASK: MASK,
        "b": "abc",
    }
