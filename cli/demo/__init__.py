"""`prosa up --demo`: an organization with both channels, a stand-in Chatwoot, and conversations that arrive."""
