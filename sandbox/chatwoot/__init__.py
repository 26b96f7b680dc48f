"""A Chatwoot to develop and test against: real-shaped signed webhooks out, the REST calls we use, faults on demand."""
