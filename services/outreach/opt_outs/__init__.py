"""What contacts ask for in their own words: to be left alone, and to be written to again."""
