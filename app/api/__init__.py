"""The REST API: one file per resource, schemas first, then views. It decides nothing."""
