"""A fake of an OpenAI-compatible server: completions that follow from what is asked, and the faults of real ones."""
