"""`prosa up --demo`: an organization with both channels, a fake Chatwoot, and conversations that arrive."""
