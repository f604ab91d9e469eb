"""The web page's files, and what it is told about a definition."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask

from app.web import pages

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__, static_folder=None)
    app.url_map.strict_slashes = False
    app.register_blueprint(pages.blueprint)
    return app


def test_the_page_is_served_with_a_strict_policy(app: Flask) -> None:
    client = app.test_client()
    with client.get("/ui/") as answer:
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert client.get("/ui").status_code in (301, 302, 308)
    assert client.get("/ui/../pages.py").status_code == 404


def test_every_file_that_the_page_names_is_there_and_nothing_comes_from_elsewhere(
    app: Flask,
) -> None:
    client = app.test_client()
    texts = {path.name: path.read_text() for path in pages.STATIC.iterdir()}
    names = set(
        re.findall(
            r'(?:from "\./|src="|href=")([\w.]+\.(?:js|css|svg))"', "\n".join(texts.values())
        )
    )
    assert names >= {"app.js", "api.js", "graph.js", "style.css"}
    for name in names:
        with client.get(f"/ui/{name}") as answer:
            assert answer.status_code == 200, name
    for name, text in texts.items():
        addresses = set(re.findall(r"https?://[\w./]+", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set(), name
    assert "style=" not in texts["index.html"]


def test_a_definition_is_told_as_a_graph() -> None:
    (tour,) = pages.checked((EXAMPLES / "tour.yaml").read_text())["workflows"]
    assert [task["name"] for task in tour["tasks"]][:2] == ["receive", "price"]
    assert {"from": "receive", "to": "price", "kind": "on-success"} in tour["edges"]
    assert {"from": "price", "to": "give_up", "kind": "on-error"} in tour["edges"]
    assert next(task for task in tour["tasks"] if task["name"] == "offer")["join"] == "all"
    assert tour["input"][1] == {"name": "limit", "required": False, "default": 100}


def test_what_is_wrong_has_its_place() -> None:
    answer = pages.checked("version: '2.0'\nw:\n  tasks:\n    a:\n      on-success: b\n")
    assert answer["workflows"] == []
    assert (answer["problems"][0]["line"], answer["problems"][0]["column"]) == (5, 19)
