"""What a contact wrote in one go, gathered until it is quiet, and the reply to it."""
