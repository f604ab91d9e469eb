"""Without authentication, only callers on this machine are answered."""

from __future__ import annotations

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from app.api.identity import Unauthorized, authentication
from app.config import Config


def request(address: str) -> Request:
    return Request(EnvironBuilder(environ_base={"REMOTE_ADDR": address}).get_environ())


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", ""])
def test_this_machine_has_many_names(address: str) -> None:
    assert authentication(Config())(request(address)).project_id


@pytest.mark.parametrize("address", ["10.0.0.7", "::ffff:10.0.0.7", "2001:db8::1", "localhost"])
def test_others_are_refused(address: str) -> None:
    with pytest.raises(Unauthorized):
        authentication(Config())(request(address))
    assert authentication(Config(insecure=True))(request(address)).project_id
