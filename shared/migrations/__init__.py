"""Alembic migrations of the tables; `Database.migrate` runs them."""
