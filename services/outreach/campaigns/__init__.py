"""Campaigns: one text to the contacts of one list, within the limits of the gate."""
