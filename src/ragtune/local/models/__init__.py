"""Base and tuned models: which names are known, and how a tuned model is taken away."""
