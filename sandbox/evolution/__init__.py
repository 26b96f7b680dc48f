"""A fake of Evolution API v2 (release 2.3.7) and the WhatsApp behind it, its faults included."""
