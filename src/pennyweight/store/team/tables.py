"""The tables of a team's database, the same in SQLite and PostgreSQL; money is a whole number of nano-dollars (nusd).

Moments are whole nanoseconds since 1970 in UTC (`_ns`). What happened is only ever added: `event`, `usage`,
`correction` and `alert` have no column that changes.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

NAME = String(64)
DIGEST = String(64)
# SQLite numbers rows by itself only where the column is an INTEGER.
NUMBER = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

version = Table(
    "version",
    metadata,
    Column("model", NAME, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", DIGEST, nullable=False),  # of the artifact, which names its content
    Column("place", Text, nullable=False),  # the folder or URL of the artifact store it was put in
    Column("lineage", Text, nullable=False),  # JSON: job, plan, run, data fingerprint, parent
    Column("certificate", Text, nullable=False),  # JSON, "" if it has none
    Column("made_ns", BigInteger, nullable=False),
    Column("made_by", NAME, nullable=False),
    CheckConstraint("number > 0", name="number"),
    UniqueConstraint("model", "digest", name="uq_version_content"),
)

event = Table(
    "event",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("who", NAME, nullable=False),
    Column("model", NAME, nullable=False, index=True),
    Column("kind", String(16), nullable=False),  # add, promote, rollback, demote, retire; see Remark
    Column("alias", NAME, nullable=False),  # "" where the event is about a version, not an alias
    Column("number", Integer, nullable=False),  # the version after it, 0 for none
    Column("before", Integer, nullable=False),  # the version before it, 0 for none
    Column("why", Text, nullable=False),
)

organisation = Table(
    "organisation",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("made_ns", BigInteger, nullable=False),
)

tenant = Table(
    "tenant",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("organisation", NAME, ForeignKey("organisation.name"), nullable=False),
    Column("zone", NAME, nullable=False),  # IANA time zone in which its days and months begin
    Column("rate_s", Integer, nullable=False),  # requests per second, 0 for no limit
    Column("made_ns", BigInteger, nullable=False),
    Column("closed_ns", BigInteger, nullable=False),  # 0 while it is open
)

key = Table(
    "key",
    metadata,
    Column("id", String(16), primary_key=True),  # the part of the key that may be shown
    Column("tenant", NAME, ForeignKey("tenant.name"), nullable=False, index=True),
    Column("digest", DIGEST, nullable=False),  # SHA-256 of the secret part, which is random and long
    Column("role", String(16), nullable=False),  # caller, admin
    Column("made_ns", BigInteger, nullable=False),
    Column("revoked_ns", BigInteger, nullable=False),  # 0 while it holds
)

price = Table(
    "price",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("model", NAME, nullable=False, index=True),
    Column("since_ns", BigInteger, nullable=False),
    Column("request_nusd", BigInteger, nullable=False),
    Column("in_nusd", BigInteger, nullable=False),  # per unit that goes in: a row, or a token
    Column("out_nusd", BigInteger, nullable=False),
    Column("cached_nusd", BigInteger, nullable=False),  # per unit that goes in and was cached
    Column("second_nusd", BigInteger, nullable=False),  # per second of compute
)

budget = Table(
    "budget",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("level", String(16), nullable=False),  # key, tenant, organisation
    Column("owner", NAME, nullable=False),
    Column("period", String(8), nullable=False),  # minute, hour, day, month, total
    Column("zone", NAME, nullable=False),
    Column("limit_nusd", BigInteger, nullable=False),
    Column("hard", Integer, nullable=False),  # 1: what is over it is refused; 0: it is only said
    UniqueConstraint("level", "owner", "period", "hard", name="uq_budget_owner"),
    CheckConstraint("limit_nusd >= 0", name="limit"),
)

window = Table(
    "window",
    metadata,
    Column("budget", NUMBER, ForeignKey("budget.id"), primary_key=True),
    Column("begin_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("spent_nusd", BigInteger, nullable=False),
    Column("reserved_nusd", BigInteger, nullable=False),
    CheckConstraint("spent_nusd >= 0", name="spent"),
    CheckConstraint("reserved_nusd >= 0", name="reserved"),
)

lease = Table(
    "lease",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("budget", NUMBER, ForeignKey("budget.id"), primary_key=True),
    Column("begin_ns", BigInteger, nullable=False),  # of the window it was taken from
    Column("worker", NAME, nullable=False, index=True),
    Column("left_nusd", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False, index=True),
    CheckConstraint("left_nusd >= 0", name="left"),
)

usage = Table(
    "usage",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("request", String(32), nullable=False, unique=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("tenant", NAME, nullable=False),
    Column("key", String(16), nullable=False),
    Column("model", NAME, nullable=False),
    Column("number", Integer, nullable=False),
    Column("in_units", BigInteger, nullable=False),
    Column("out_units", BigInteger, nullable=False),
    Column("cached_units", BigInteger, nullable=False),
    Column("compute_ns", BigInteger, nullable=False),
    Column("energy_uj", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("cost_nusd", BigInteger, nullable=False),
    Index("ix_usage_tenant_at", "tenant", "at_ns"),
)

correction = Table(
    "correction",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("tenant", NAME, nullable=False, index=True),
    Column("model", NAME, nullable=False),
    Column("for_ns", BigInteger, nullable=False),  # the moment that is corrected
    Column("cost_nusd", BigInteger, nullable=False),  # added to the bill; less than nothing gives back
    Column("why", Text, nullable=False),
)

rollout = Table(
    "rollout",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("model", NAME, nullable=False, index=True),
    Column("alias", NAME, nullable=False),  # the alias that stands for the candidate if it is promoted
    Column("number", Integer, nullable=False),  # the candidate
    Column("before", Integer, nullable=False),  # the version that it is compared with
    Column("share_ppm", Integer, nullable=False),  # of the requests that the candidate answers, in millionths
    Column("shadow", Integer, nullable=False),  # 1: the candidate is asked copies of the others
    Column("sticky", Integer, nullable=False),  # 1: by key, not by request
    Column("began_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("who", NAME, nullable=False),
    Column("ended_ns", BigInteger, nullable=False),  # 0 while it goes on
    Column("verdict", String(16), nullable=False),  # "" while it goes on; promote, rollback, stop
    Column("why", Text, nullable=False),
    CheckConstraint("share_ppm BETWEEN 0 AND 1000000", name="share"),
)

tally = Table(
    "tally",
    metadata,
    Column("rollout", NUMBER, ForeignKey("rollout.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),  # requests that the model failed at, in `requests` too
    Column("latency_us", BigInteger, nullable=False),
    Column("compute_us", BigInteger, nullable=False),
    Column("compute_sq", Double, nullable=False),  # sum of the squares of microseconds
    Column("cost_nusd", BigInteger, nullable=False),
    Column("compared", BigInteger, nullable=False),  # rows that both versions answered
    Column("agreed", BigInteger, nullable=False),
    Column("paced", BigInteger, nullable=False),  # texts that were continued
    Column("pace_us", BigInteger, nullable=False),  # sum of the microseconds per token of each
    Column("pace_sq", Double, nullable=False),
)

worker = Table(
    "worker",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("host", NAME, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("address", Text, nullable=False),
    Column("began_ns", BigInteger, nullable=False),
    Column("beat_ns", BigInteger, nullable=False),  # when it last said that it lives
    Column("serves", Text, nullable=False),  # JSON: what every name stands for in that process
)

answer = Table(
    "answer",
    metadata,
    Column("request", String(32), primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("model", NAME, nullable=False),
    Column("number", Integer, nullable=False),
    Column("said", Double, nullable=False),  # the class, or the value
    Column("sure", Double, nullable=False),  # the chance that the model gave it, -1 if it gives none
    Index("ix_answer_model_number", "model", "number"),
)

label = Table(
    "label",
    metadata,
    Column("request", String(32), primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False, index=True),  # when it was told, which may be weeks after the answer
    Column("label", Double, nullable=False),
)

alert = Table(
    "alert",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("model", NAME, nullable=False, index=True),
    Column("number", Integer, nullable=False),  # the version it is about, 0 for all
    Column("kind", String(16), nullable=False),  # drift, floor, canary, cost
    Column("text", Text, nullable=False),
    Column("value", Double, nullable=False),
)

errand = Table(
    "errand",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),  # the latest moment for which some process has done it, or does
    Column("until_ns", BigInteger, nullable=False),  # after which who does it is dead; the largest number: done
)
