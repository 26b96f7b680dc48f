"""The rules of the room: standard library and chassis.errors only."""
