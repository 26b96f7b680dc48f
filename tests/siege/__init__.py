"""A flood of strangers against a whole `prosa up`: genuine webhooks are stored in time, and memory stays bounded."""
