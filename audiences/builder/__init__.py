"""A definition while somebody builds it: its text, the blocks of a form over it, and what can be done to them."""
