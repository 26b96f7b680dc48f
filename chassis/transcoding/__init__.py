"""Messages of the contracts as JSON, and JSON as messages."""
