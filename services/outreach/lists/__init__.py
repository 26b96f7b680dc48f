"""Lists of contacts, and the CSV files that fill them."""
