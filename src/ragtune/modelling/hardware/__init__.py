"""What this machine computes with, and where on it a model runs; loads no torch by itself."""
