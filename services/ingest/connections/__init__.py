"""Webhook addresses with their secrets, and the channels behind them."""
