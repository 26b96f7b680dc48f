"""What outreach says is due to be sent, in the conversation with the contact, which may have to be begun."""
