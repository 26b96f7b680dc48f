"""Whether a message may be sent: kill switches, suppressions, windows, quiet hours and limits."""
