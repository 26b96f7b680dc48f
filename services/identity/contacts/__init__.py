"""Who is on the other side: contacts, their identities and how they are found."""
