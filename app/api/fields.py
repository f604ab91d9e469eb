"""Attributes of the API: how a value is shown, and what is accepted for it.

They are marshmallow fields, so that the OpenAPI document knows them; reading and showing goes
through ``read``, ``read_text`` and ``show``, which give exactly the texts, refusals and forms
that Mistral's clients know, and cost little.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import marshmallow as ma

from app.core.evaluation import text_of_time
from app.models.types import loads
from app.services.errors import Refused

#: Words that mean false in a query, where clients of old send any text for true.
FALSE_WORDS = frozenset({"", "false", "0", "no", "off", "n", "f"})


class BadValue(Refused):
    """A value does not fit its attribute."""

    def __init__(self, name: str, value: Any, why: str) -> None:
        super().__init__(f"Invalid input for field/attribute {name}. Value: '{value}'. {why}")


class BadBody(ValueError):
    """A value that makes the whole body unreadable; the message then tells the body."""


class Attribute(ma.fields.Field[Any]):
    """Any value."""

    #: OpenAPI's words for it.
    doc: dict[str, Any] = {}
    #: Whether it is accepted and ignored, or refused, in bodies.
    read_only: bool = False

    def __init__(self, description: str = "", *, read_only: bool = False, **options: Any) -> None:
        metadata = dict(self.doc) | options.pop("metadata", {})
        if description:
            metadata["description"] = description
        super().__init__(allow_none=options.pop("allow_none", True), metadata=metadata, **options)
        self.read_only = read_only

    def show(self, value: Any) -> Any:
        """*value* as the response carries it."""
        return value

    def read(self, name: str, value: Any) -> Any:
        """What a body's *value* means; null stays null."""
        return value

    def read_text(self, name: str, text: str) -> Any:
        """What a query's *text* means."""
        return text


class Text(Attribute):
    """A string, and nothing that is not one."""

    doc = {"type": "string"}

    def __init__(self, description: str = "", *, length: int | None = None, **options: Any) -> None:
        if length is not None:
            options["metadata"] = {"maxLength": length} | options.get("metadata", {})
        super().__init__(description, **options)
        self.length = length

    def read(self, name: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise BadValue(
                name, value, f"Wrong type. Expected '<class 'str'>', got '{type(value)}'"
            )
        return self.check(name, value)

    def read_text(self, name: str, text: str) -> Any:
        return self.check(name, text)

    def check(self, name: str, value: str) -> str:
        if self.length is not None and len(value) > self.length:
            raise BadValue(
                name, value[:60] + "...", f"Value is longer than {self.length} characters"
            )
        if not storable(value):
            raise BadValue(name, ascii(value[:60])[1:-1], "Not a text that can be stored")
        return value


def storable(text: str) -> bool:
    """Whether every database keeps *text*: no NUL, no half of a surrogate pair."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    return not any("\ud800" <= character <= "\udfff" for character in text)


class Choice(Text):
    """One of some words."""

    def __init__(self, words: tuple[str, ...], description: str = "", **options: Any) -> None:
        options["metadata"] = {"enum": list(words)} | options.get("metadata", {})
        super().__init__(description, **options)
        self.words = words

    def check(self, name: str, value: str) -> str:
        if value not in self.words:
            raise BadValue(
                name, ascii(value)[1:-1], f"Value should be one of: {', '.join(self.words)}"
            )
        return value


class Uuid(Text):
    """A UUID, shown with dashes."""

    doc = {"type": "string", "format": "uuid"}

    def check(self, name: str, value: str) -> str:
        return as_uuid(name, value)


def as_uuid(name: str, value: str) -> str:
    """*value* as a dashed UUID, or BadValue."""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        shown = ascii(value)[1:-1]
        raise BadValue(
            name, shown, f"unable to convert to uuid. Error: Expected a uuid but received {shown}."
        ) from None


class DateTime(Attribute):
    """A time in UTC, to the second, without a zone."""

    doc = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$"}

    def show(self, value: datetime | None) -> str | None:
        if value is None:
            return None
        if value.tzinfo is not UTC:
            value = value.astimezone(UTC)
        return text_of_time(value)


class Stamp(DateTime):
    """A time that may also be the empty text: built-in actions have none."""

    doc = {"type": "string"}

    def show(self, value: Any) -> Any:
        return value if isinstance(value, str) else super().show(value)


class Integer(Attribute):
    """A whole number; numerals are accepted, fractions are cut off."""

    doc = {"type": "integer"}

    def __init__(
        self, description: str = "", *, minimum: int | None = None, **options: Any
    ) -> None:
        if minimum is not None:
            options["metadata"] = {"minimum": minimum} | options.get("metadata", {})
        super().__init__(description, **options)
        self.minimum = minimum

    def read(self, name: str, value: Any) -> int:
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError(f"int() argument must be a number, not '{type(value).__name__}'")
            number = int(value)
        except (ValueError, OverflowError) as err:
            raise BadValue(name, value, f"unable to convert to int. Error: {err}") from None
        if self.minimum is not None and number < self.minimum:
            raise BadValue(name, value, f"Value should be greater or equal to {self.minimum}")
        if abs(number) > 2**31 - 1:
            raise BadValue(name, value, "Value is out of range")
        return number

    def read_text(self, name: str, text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            shown = ascii(text[:40])[1:-1]
            raise BadValue(
                name,
                shown,
                "unable to convert to int. Error: invalid literal for int() with base 10: "
                f"'{shown}'",
            ) from None
        return max(-(2**31), min(number, 2**31 - 1))


class Flag(Attribute):
    """True or false."""

    doc = {"type": "boolean"}

    def read(self, name: str, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
        raise BadValue(name, value, f"Wrong type. Expected 'bool', got '{type(value)}'")

    def read_text(self, name: str, text: str) -> bool:
        return text.strip().lower() not in FALSE_WORDS


#: Most characters of a text whose shown form is remembered.
_SHORT = 1000


@lru_cache(maxsize=1024)
def _shown(text: str) -> str:
    """Stored JSON as clients know it, with spaces; many rows have the same parameters."""
    return json.dumps(loads(text))


class JsonString(Attribute):
    """An object, shown as a string that holds JSON; both forms are accepted."""

    doc = {"type": "string", "contentMediaType": "application/json"}

    def show(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value)

    def show_stored(self, text: str | None) -> str | None:
        """What ``show`` gives for the value that is stored as *text*."""
        if text is None:
            return None
        return _shown(text) if len(text) <= _SHORT else _shown.__wrapped__(text)

    def read(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        if not isinstance(value, str):
            raise BadBody(
                f"the JSON object must be str, bytes or bytearray, not {type(value).__name__}"
            )
        try:
            value = json.loads(value)
        except RecursionError:
            raise BadBody("nested too deeply") from None
        except ValueError as err:
            raise BadBody(str(err)) from None
        if isinstance(value, dict):
            return value
        if value:
            raise BadBody(f"JsonType field value must be a dictionary [actual={value}]")
        return None  # Mistral asks what it is only of values that are true.

    def read_text(self, name: str, text: str) -> Any:
        try:
            return self.read(name, text)
        except BadBody as err:
            raise BadValue(name, ascii(text)[1:-1], str(err)) from None


class Object(Attribute):
    """Any JSON object, as it is."""

    doc = {"type": "object"}


class Texts(Attribute):
    """A list of strings; in a query with commas between them."""

    doc = {"type": "array", "items": {"type": "string"}}

    def read(self, name: str, value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise BadValue(name, value, "Expected a list of texts")
        return value

    def read_text(self, name: str, text: str) -> list[str]:
        words = (word.strip().lower() for word in text.split(","))
        return list(dict.fromkeys(word for word in words if word))
