"""Access rules for senders, recipients and client networks."""
