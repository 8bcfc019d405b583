"""The scheduler: which recipient is tried when, and what is bounced."""
