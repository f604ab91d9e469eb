"""What gunicorn serves: ``gunicorn app.wsgi:app``."""

from __future__ import annotations

from app.config import Config
from app.factory import create_app

app = create_app(Config.from_env())
