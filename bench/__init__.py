"""Measures Celeriac on real servers, beside raw Celery on the same machine in the same run."""
