"""What the API is, told to programs (OpenAPI 3.1) and to people (a page), both from the contracts."""
