"""Steps from one form of the state to the next, run by Alembic whenever the portal starts."""
