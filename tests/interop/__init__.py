"""The suite's programs below other people's servers, spoken to by other people's clients."""
