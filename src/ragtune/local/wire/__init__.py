"""OpenAI's bodies: what requests may say, and what answers look like."""
