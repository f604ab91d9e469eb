"""Integration tests use the servers and databases of ``tests/conftest.py``."""
