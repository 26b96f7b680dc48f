"""Personas: the ways in which something is said by itself."""
