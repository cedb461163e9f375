"""Step ``insights``: what a day's profile and activity say of everybody together.

One module a topic, each with ``insight(run)``; ``step.py`` runs them, audits and publishes what they give.
"""
