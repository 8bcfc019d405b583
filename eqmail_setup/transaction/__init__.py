"""Plans and transactions: changes are made completely or not at all, and can be rolled back."""
