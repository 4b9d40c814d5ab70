"""What is found out and refused before the first byte of a job is sent."""
