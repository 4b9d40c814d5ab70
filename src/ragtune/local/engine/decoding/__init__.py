"""What one row does with its logits and tokens: draws one, keeps to a form, makes text and calls of them."""
