"""The Celery side: workers that apply events, run actions, tick timers, deliver notifications."""
