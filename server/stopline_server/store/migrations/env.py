"""Run by Alembic for each command: hands it the connection on which the advisory lock is held."""

from alembic import context

from stopline_server.store.schema import metadata

# The connection's owner begins and ends the transaction, so that lock and migration are one.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
