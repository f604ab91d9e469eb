"""What a service may refuse, and why; which HTTP status that becomes is not told here.

ServiceError
├── NotFound            no such thing, or the caller may not know of it
├── Duplicate           there is one of that name already
├── Refused             what was asked makes no sense, or not now
├── NotAllowed          the caller may see it but not do that to it
├── InMaintenance       the installation is being paused
└── Unavailable         something that is needed does not answer; asking again may help
"""

from __future__ import annotations


class ServiceError(Exception):
    """The base of all refusals of the services."""


class NotFound(ServiceError):
    """There is no such thing, or it is not visible to the caller."""


class Duplicate(ServiceError):
    """There is such a thing already."""


class Refused(ServiceError):
    """What was asked cannot be done as it was asked."""


class NotAllowed(ServiceError):
    """The caller may not do that."""

    def __init__(self, message: str = "Operation forbidden (insufficient permissions)") -> None:
        super().__init__(message)


class InMaintenance(ServiceError):
    """Nothing is started or changed while the installation is being paused."""

    def __init__(self, status: str) -> None:
        super().__init__(f"Current Mistral state is {status}. Method is not allowed")
        self.status = status


class Unavailable(ServiceError):
    """Something that is needed does not answer now."""
