"""Webhooks are checked, stored and answered."""
