"""Statistics and machine learning on arrays and frames; nothing here reads a table or a clock."""
