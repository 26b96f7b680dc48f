"""`prosa smoke`: five scenarios against a running installation, from the webhook to the rows."""
