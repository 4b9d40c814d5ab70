"""What of a run outlives its process, and its machine; loads no torch."""
