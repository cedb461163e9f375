"""Who comes in, and what each may: passwords, sessions, roles, and what keeps others out."""
