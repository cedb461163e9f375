"""Who brought whom: first touches, the share forest, its shape, roles in it, growth, distributors (section 7)."""
