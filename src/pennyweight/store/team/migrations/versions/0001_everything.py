"""All tables, and triggers that let what happened be added and nothing else."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.String(64)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ADDED_ONLY = ("event", "usage", "correction", "alert")


def upgrade() -> None:
    """Make everything."""
    _budget()
    _correction()
    _event()
    _organisation()
    _price()
    _usage()
    _version()
    _lease()
    _tenant()
    _window()
    _key()
    _rollout()
    _tally()
    _worker()
    _answer()
    _label()
    _alert()
    _errand()
    if op.get_bind().dialect.name == "sqlite":
        _seal_sqlite()
    else:
        _seal_postgresql()


def _seal_sqlite() -> None:
    for table in ADDED_ONLY:
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _seal_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in ADDED_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION append_only()"
        )


def _budget() -> None:
    op.create_table(
        "budget",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("period", sa.String(length=8), nullable=False),
        sa.Column("zone", NAME, nullable=False),
        sa.Column("limit_nusd", sa.BigInteger(), nullable=False),
        sa.Column("hard", sa.Integer(), nullable=False),
        sa.CheckConstraint("limit_nusd >= 0", name=op.f("ck_budget_limit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget")),
        sa.UniqueConstraint("level", "owner", "period", "hard", name="uq_budget_owner"),
    )


def _correction() -> None:
    op.create_table(
        "correction",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("for_ns", sa.BigInteger(), nullable=False),
        sa.Column("cost_nusd", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction")),
    )
    op.create_index(op.f("ix_correction_tenant"), "correction", ["tenant"], unique=False)


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("who", NAME, nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("alias", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_model"), "event", ["model"], unique=False)


def _organisation() -> None:
    op.create_table(
        "organisation",
        sa.Column("name", NAME, nullable=False),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_organisation")),
    )


def _price() -> None:
    op.create_table(
        "price",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("request_nusd", sa.BigInteger(), nullable=False),
        sa.Column("in_nusd", sa.BigInteger(), nullable=False),
        sa.Column("out_nusd", sa.BigInteger(), nullable=False),
        sa.Column("cached_nusd", sa.BigInteger(), nullable=False),
        sa.Column("second_nusd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price")),
    )
    op.create_index(op.f("ix_price_model"), "price", ["model"], unique=False)


def _usage() -> None:
    op.create_table(
        "usage",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("request", sa.String(length=32), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("key", sa.String(length=16), nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("in_units", sa.BigInteger(), nullable=False),
        sa.Column("out_units", sa.BigInteger(), nullable=False),
        sa.Column("cached_units", sa.BigInteger(), nullable=False),
        sa.Column("compute_ns", sa.BigInteger(), nullable=False),
        sa.Column("energy_uj", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("cost_nusd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage")),
        sa.UniqueConstraint("request", name=op.f("uq_usage_request")),
    )
    op.create_index("ix_usage_tenant_at", "usage", ["tenant", "at_ns"], unique=False)


def _version() -> None:
    op.create_table(
        "version",
        sa.Column("model", NAME, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("lineage", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.Column("made_by", NAME, nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_version_number")),
        sa.PrimaryKeyConstraint("model", "number", name=op.f("pk_version")),
        sa.UniqueConstraint("model", "digest", name="uq_version_content"),
    )


def _lease() -> None:
    op.create_table(
        "lease",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("budget", NUMBER, nullable=False),
        sa.Column("begin_ns", sa.BigInteger(), nullable=False),
        sa.Column("worker", NAME, nullable=False),
        sa.Column("left_nusd", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("left_nusd >= 0", name=op.f("ck_lease_left")),
        sa.ForeignKeyConstraint(["budget"], ["budget.id"], name=op.f("fk_lease_budget")),
        sa.PrimaryKeyConstraint("id", "budget", name=op.f("pk_lease")),
    )
    op.create_index(op.f("ix_lease_expires_ns"), "lease", ["expires_ns"], unique=False)
    op.create_index(op.f("ix_lease_worker"), "lease", ["worker"], unique=False)


def _tenant() -> None:
    op.create_table(
        "tenant",
        sa.Column("name", NAME, nullable=False),
        sa.Column("organisation", NAME, nullable=False),
        sa.Column("zone", NAME, nullable=False),
        sa.Column("rate_s", sa.Integer(), nullable=False),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.Column("closed_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["organisation"], ["organisation.name"], name=op.f("fk_tenant_organisation")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tenant")),
    )


def _window() -> None:
    op.create_table(
        "window",
        sa.Column("budget", NUMBER, nullable=False),
        sa.Column("begin_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("spent_nusd", sa.BigInteger(), nullable=False),
        sa.Column("reserved_nusd", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("reserved_nusd >= 0", name=op.f("ck_window_reserved")),
        sa.CheckConstraint("spent_nusd >= 0", name=op.f("ck_window_spent")),
        sa.ForeignKeyConstraint(["budget"], ["budget.id"], name=op.f("fk_window_budget")),
        sa.PrimaryKeyConstraint("budget", "begin_ns", name=op.f("pk_window")),
    )


def _key() -> None:
    op.create_table(
        "key",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.name"], name=op.f("fk_key_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key")),
    )
    op.create_index(op.f("ix_key_tenant"), "key", ["tenant"], unique=False)


def _rollout() -> None:
    op.create_table(
        "rollout",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("alias", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("share_ppm", sa.Integer(), nullable=False),
        sa.Column("shadow", sa.Integer(), nullable=False),
        sa.Column("sticky", sa.Integer(), nullable=False),
        sa.Column("began_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.Column("who", NAME, nullable=False),
        sa.Column("ended_ns", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.CheckConstraint("share_ppm BETWEEN 0 AND 1000000", name=op.f("ck_rollout_share")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout")),
    )
    op.create_index(op.f("ix_rollout_model"), "rollout", ["model"], unique=False)


def _tally() -> None:
    op.create_table(
        "tally",
        sa.Column("rollout", NUMBER, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("latency_us", sa.BigInteger(), nullable=False),
        sa.Column("compute_us", sa.BigInteger(), nullable=False),
        sa.Column("compute_sq", sa.Double(), nullable=False),
        sa.Column("cost_nusd", sa.BigInteger(), nullable=False),
        sa.Column("compared", sa.BigInteger(), nullable=False),
        sa.Column("agreed", sa.BigInteger(), nullable=False),
        sa.Column("paced", sa.BigInteger(), nullable=False),
        sa.Column("pace_us", sa.BigInteger(), nullable=False),
        sa.Column("pace_sq", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollout.id"], name=op.f("fk_tally_rollout")),
        sa.PrimaryKeyConstraint("rollout", "number", name=op.f("pk_tally")),
    )


def _worker() -> None:
    op.create_table(
        "worker",
        sa.Column("id", NAME, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("began_ns", sa.BigInteger(), nullable=False),
        sa.Column("beat_ns", sa.BigInteger(), nullable=False),
        sa.Column("serves", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )


def _answer() -> None:
    op.create_table(
        "answer",
        sa.Column("request", sa.String(length=32), nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("said", sa.Double(), nullable=False),
        sa.Column("sure", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("request", "row", name=op.f("pk_answer")),
    )
    op.create_index("ix_answer_model_number", "answer", ["model", "number"], unique=False)


def _label() -> None:
    op.create_table(
        "label",
        sa.Column("request", sa.String(length=32), nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("request", "row", name=op.f("pk_label")),
    )
    op.create_index(op.f("ix_label_at_ns"), "label", ["at_ns"], unique=False)


def _alert() -> None:
    op.create_table(
        "alert",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index(op.f("ix_alert_model"), "alert", ["model"], unique=False)


def _errand() -> None:
    op.create_table(
        "errand",
        sa.Column("name", NAME, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_errand")),
    )
