"""Durable queues by key: what must happen once it is committed, in order within a key, whoever runs or dies."""
