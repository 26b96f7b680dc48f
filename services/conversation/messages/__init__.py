"""What is said: conversations, messages and reactions."""
