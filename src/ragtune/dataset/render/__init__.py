"""From rows to the lines of a training file: filters, templates, functions, and what runs them."""
