"""Numbers behind Evolution, as far as ingest has to do with them: how one begins, and what webhooks say of it."""
