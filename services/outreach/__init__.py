"""What may be sent: who must never be written to again."""
