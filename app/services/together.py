"""Work that threads of one process ask for at the same time, done by one of them for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Place(Generic[T]):
    """A thread that waits in line."""

    item: T
    #: It need not wait any longer.
    called: threading.Event = field(default_factory=threading.Event)
    #: It is its turn to do what waits.
    leads: bool = False
    done: bool = False


class Together(Generic[T]):
    """A line of threads, the first of which does the items of all: a group commit.

    Who comes alone waits for nobody. Who comes while another works waits for it, and all who have
    come by then are served by one call. So the more come, the less each costs. If that takes
    longer than *patience* seconds, those who wait do their own: what one waits for may be of no
    concern to another.
    """

    def __init__(self, *, most: int = 50, patience: float = 1.0) -> None:
        self._most = most
        self.patience = patience
        self._lock = threading.Lock()
        self._line: list[_Place[T]] = []
        #: Somebody works.
        self.busy = False

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._line)

    def add(self, item: T, do: Callable[[Sequence[T]], None]) -> None:
        """Have *item* done; raise what *do* raises for it alone.

        *do* is the same for all; it does all the items that it gets, or raises and has done none.
        """
        place = _Place(item)
        with self._lock:
            self._line.append(place)
            place.leads, self.busy = not self.busy, True
        if not place.leads and not place.called.wait(self.patience) and not self._leave(place):
            place.called.wait()
        if place.leads:
            self._do_line(do)
        if not place.done:
            # It has waited for long, or together they failed: each learns by itself what is wrong.
            do([item])

    def _leave(self, place: _Place[T]) -> bool:
        """Leave the line; False if it is being done already. Who leads by now stays."""
        with self._lock:
            if not place.leads:
                if place not in self._line:
                    return False
                self._line.remove(place)
            return True

    def _do_line(self, do: Callable[[Sequence[T]], None]) -> None:
        """Do what waits, and call who comes next."""
        with self._lock:
            batch, self._line = self._line[: self._most], self._line[self._most :]
        try:
            do([place.item for place in batch])
            for place in batch:
                place.done = True
        except Exception:
            if len(batch) == 1:
                raise
        finally:
            with self._lock:
                following = self._line[:1]
                self.busy = bool(following)
                for place in following:
                    place.leads = True
            for place in (*batch, *following):
                place.called.set()
