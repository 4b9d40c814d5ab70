"""What a run measures on examples that it does not learn from: their loss, and whether they are answered right."""
