"""The scorecard: what was measured as figures, and the same figures in words and as a page."""
