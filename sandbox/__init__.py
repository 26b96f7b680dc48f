"""Fakes for what lies outside: each speaks the real wire of one provider, with faults on demand."""
