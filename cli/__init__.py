"""The `prosa` command: one module per noun."""
