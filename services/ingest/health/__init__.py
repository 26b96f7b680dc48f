"""How well an organization's webhooks fare, and whom to tell when they do not."""
