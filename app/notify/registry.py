"""All publishers by the ``type`` that users write: ours, and those of plug-ins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from app.actions.egress import Egress
from app.config import Config

from .delivery import Delivery, Publisher
from .local import Log, Noop, RedisStream
from .webhook import Webhook

log = logging.getLogger(__name__)

#: Plug-ins: a function that takes a Delivery, or a class with ``publish(delivery)``.
PLUGIN_GROUP = "celeriac.publishers"
#: Mistral's: a class with ``publish(ctx, ex_id, data, event, timestamp, **kwargs)``.
MISTRAL_GROUP = "mistral.notification.publishers"


class PublisherRegistered(Exception):
    """There is a publisher of that type already; the message names it."""


class Publishers:
    """Finds a publisher by its type."""

    def __init__(self) -> None:
        self._known: dict[str, Publisher] = {}
        #: Plug-ins that could not be loaded, and why.
        self.problems: dict[str, str] = {}

    def register(self, type: str, publisher: Publisher) -> None:
        """Add *publisher* under *type*; refuse one that is taken."""
        if type in self._known:
            raise PublisherRegistered(
                f"a publisher {type!r} exists: {self._known[type].__class__.__qualname__}"
            )
        self._known[type] = publisher

    def find(self, type: str) -> Publisher | None:
        """The publisher of *type*, or None."""
        return self._known.get(type)

    @property
    def types(self) -> list[str]:
        """All types, in order."""
        return sorted(self._known)

    def load_plugins(self, points: list[tuple[str, EntryPoint]] | None = None) -> None:
        """Add the publishers of installed packages.

        One that fails is told in ``problems`` and in the log, and takes nobody down.
        """
        if points is None:
            points = [
                (group, point)
                for group in (PLUGIN_GROUP, MISTRAL_GROUP)
                for point in entry_points(group=group)
            ]
        for group, point in points:
            try:
                wrap = _mistral if group == MISTRAL_GROUP else _plugin
                self.register(point.name, wrap(point.load()))
            except Exception as err:
                self.problems[point.name] = f"{point.value}: {err}"
                log.warning("the publisher %s cannot be used: %s", point.name, err)


def standard_publishers(config: Config) -> Publishers:
    """The publishers that come with Celeriac, and those of plug-ins."""
    publishers = Publishers()
    egress = Egress.from_config(config)
    publishers.register("webhook", Webhook(egress, secret=config.notify_secret))
    publishers.register("redis-stream", RedisStream(config.redis_url))
    publishers.register("log", Log())
    publishers.register("noop", Noop())
    publishers.load_plugins()
    return publishers


class _Function:
    """A plug-in that is a function of a delivery."""

    def __init__(self, publish: Callable[[Delivery], Any]) -> None:
        self._publish = publish

    def destination(self, publisher: Mapping[str, Any]) -> str | None:
        return None

    def publish(self, delivery: Delivery) -> None:
        self._publish(delivery)


def _plugin(found: Any) -> Publisher:
    made = found() if isinstance(found, type) else found
    if callable(getattr(made, "publish", None)):
        if callable(getattr(made, "destination", None)):
            return cast(Publisher, made)
        return _Function(made.publish)
    if callable(made):
        return _Function(made)
    raise TypeError("expected a function of a delivery, or a class with publish(delivery)")


def _mistral(found: Any) -> Publisher:
    made = found()

    def publish(delivery: Delivery) -> None:
        options = {name: value for name, value in delivery.publisher.items() if name != "type"}
        made.publish(
            None,
            delivery.execution_id,
            dict(delivery.data),
            delivery.event,
            delivery.created_at.isoformat(" ")[:19],
            **options,
        )

    return _Function(publish)
