"""Who may come in: the account's key, and the browsers that have shown it."""
