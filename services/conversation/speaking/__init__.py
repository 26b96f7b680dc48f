"""What a persona says."""
