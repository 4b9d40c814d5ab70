"""What one record says that has the right shape: its messages, tools and images, and signs that nobody sees."""
