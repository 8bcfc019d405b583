"""One local delivery: instructions, programs and LMTP, with the rights of the user."""
