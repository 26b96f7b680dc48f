"""How an organization's conversations are answered."""
