"""What a conversation is worth: boards, stages, deals, and the tasks that people must decide."""
