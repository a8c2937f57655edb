"""A database of an earlier version keeps what it has, and gets the tables that the code expects."""

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import inspect, text

from shared.artifacts.tables import ImageAnnotationRow
from shared.database import MIGRATIONS, Database
from shared.jobs.tables import JobFileRow

pytestmark = pytest.mark.services


def migrate_to(database: Database, revision: str, *, back: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        (command.downgrade if back else command.upgrade)(config, revision)


def test_the_first_version_is_brought_to_the_newest(database_url: str) -> None:
    database = Database(database_url)
    migrate_to(database, "0001")
    with database.writing() as session:
        session.execute(
            text(
                "INSERT INTO artifacts (id, noun, kind, name, owner, manifest_sha256, summary, created_at)"
                " VALUES ('set-1', 'image_set', 'raw', 'scans', 'team', '0', '{}', 1.0)"
            )
        )
    database.migrate()
    with database.reading() as session:
        assert session.execute(text("SELECT name FROM artifacts")).scalars().all() == ["scans"]
    tables = {ImageAnnotationRow.__table__: ["image_set_id", "name"], JobFileRow.__table__: ["job_id", "name"]}
    for table, key in tables.items():
        found = inspect(database.engine).get_columns(table.name)
        assert {column["name"]: column["nullable"] for column in found} == {c.name: c.nullable for c in table.columns}
        assert inspect(database.engine).get_pk_constraint(table.name)["constrained_columns"] == key
    migrate_to(database, "0001", back=True)
    assert not any(inspect(database.engine).has_table(table.name) for table in tables)
    database.close()
