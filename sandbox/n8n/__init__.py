"""n8n's production webhooks in memory: they take signed posts, remember them, and fail on demand."""
