"""Figures: how many messages there were, by day and by hour."""
