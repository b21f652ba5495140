"""Runs migrations in the transaction that the store opened."""

from alembic import context

context.configure(connection=context.config.attributes["link"])
with context.begin_transaction():
    context.run_migrations()
