"""What rows and files share, and which rows must stay on one side of a split for it."""
