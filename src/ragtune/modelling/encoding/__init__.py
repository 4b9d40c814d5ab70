"""From a conversation to tokens and the mask of what is learned of them; loads no torch."""
