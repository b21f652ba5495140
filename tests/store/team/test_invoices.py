"""An invoice and the meter are compared by tenant, model and day, and corrections make them agree."""

import pytest

from pennyweight.errors import BadInputError
from pennyweight.store.team.corrections import correct
from pennyweight.store.team.invoices import differences, read
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.tenants import Tenant, add_tenant
from pennyweight.store.team.usage import Request, Units, record

NOV_3 = 1_793_664_000 * 10**9
HOUR = 3600 * 10**9


def fill(link):
    for name in ("acme", "beta"):
        add_tenant(link, Tenant(name, name))
    rows = [(0, "acme", 1_000_000_000), (5, "acme", 500_000_000), (7, "beta", 25), (30, "acme", 7)]
    record(
        link,
        [
            Request(f"r{n}", NOV_3 + h * HOUR, who, "k", "digits", 1, Units(1, 1), 200, c)
            for n, (h, who, c) in enumerate(rows)
        ],
    )


def written(path, *lines):
    path.write_text("\n".join(("tenant,model,day,usd", *lines)) + "\n")
    return read(path)


def test_differences_are_named_and_end_when_they_are_corrected(store, tmp_path):
    invoice = written(
        tmp_path / "invoice.csv",
        "acme,digits,2026-11-03,1.2",
        "acme,digits,2026-11-03,0.4",
        "acme,letters,2026-11-04,$0.1",
        "acme,digits,2026-11-04,0.000000007",
    )
    with opened(store) as engine, engine.begin() as link:
        fill(link)
        found = differences(link, invoice)
        assert [(each.tenant, each.model, each.day, each.kind, each.nusd) for each in found] == [
            ("acme", "digits", "2026-11-03", "billed more", 100_000_000),
            ("beta", "digits", "2026-11-03", "metered, not billed", -25),
            ("acme", "letters", "2026-11-04", "billed, not metered", 100_000_000),
        ]
        assert [each.tenant for each in differences(link, invoice, 1_000_000)] == ["acme", "acme"]
        correct(link, [each.correction("invoice") for each in found])
        assert differences(link, invoice) == ()


def test_our_own_data_set_agrees_with_the_meter(store, tmp_path):
    from pennyweight.store.focus import exported

    with opened(store) as engine:
        with engine.begin() as link:
            fill(link)
        with reading(engine) as link:
            exported.write(exported.charges(link, 0, 2**62), tmp_path / "out.csv")
            invoice = read(tmp_path / "out.csv")
            assert len(invoice.billed) == 3
            assert differences(link, invoice) == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("acme,digits,yesterday,1", "is no day"),
        ("acme,digits,2026-11-03,one", "line 2: 'one' is no amount"),
        ("acme,digits,2026-11-03,1e400", "no amount"),
        ("acme,digits,2026-11-03,NaN", "no amount"),
        (",digits,2026-11-03,1", "line 2: who or what"),
        ("acme,,2026-11-03,1", "line 2: who or what"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    with pytest.raises(BadInputError, match=said):
        written(tmp_path / "invoice.csv", line)


def test_other_columns_are_told(tmp_path):
    (tmp_path / "invoice.csv").write_text("who,what\na,b\n")
    with pytest.raises(BadInputError, match="who, what"):
        read(tmp_path / "invoice.csv")
