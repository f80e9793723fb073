"""The schema's history, run by Alembic when the service starts."""
