"""How messages leave: the one place that sends."""
