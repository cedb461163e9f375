"""Forms of the files that leave: rows in, files in parts out."""
