"""Use cases: a session, a transaction, the core. They know nothing of HTTP."""
