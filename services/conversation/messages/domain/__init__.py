"""The rules of the service: standard library and chassis.errors only."""
