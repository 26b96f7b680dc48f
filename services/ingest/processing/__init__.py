"""Stored webhook events are taken through the pipeline, in order within a conversation."""
