"""The queue service: accepts messages, keeps them in a journal, and passes them to the scheduler."""
