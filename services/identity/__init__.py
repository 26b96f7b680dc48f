"""Who is who: organizations, the people who sign in, API keys, and the contacts on the other side."""
