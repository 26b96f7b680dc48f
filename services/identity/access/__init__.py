"""Who may sign in and call: organizations, members, sessions, API keys."""
