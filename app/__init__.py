"""Celeriac: durable workflows on Celery."""
