"""Audiences: the language of ``audiences/*.yaml``, its compiler, who matches and why, and what may leave the house."""
