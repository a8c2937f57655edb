"""Alembic's entry point: runs the migrations on the connection that `Database.migrate` passes in."""

from alembic import context

from shared.artifacts import tables as artifact_tables  # noqa: F401 registers its table
from shared.database import Base
from shared.jobs import tables as job_tables  # noqa: F401 registers its tables

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
