"""All facts of an organization, by position."""
