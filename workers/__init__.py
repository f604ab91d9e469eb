"""The Celery side: workers that apply events, run actions, tick timers and deliver notifications."""
