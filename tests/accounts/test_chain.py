"""The audit trail is chained: what somebody changes, removes or inserts past the platform is found."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction

from accounts import chain
from accounts.models import AuditEntry, AuditSeal
from registry.services import register_model
from tests.factories import Person, make_person, make_project

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann() -> Person:
    person = make_person(make_project("alpha"), username="ann")
    for number in range(5):
        register_model(actor=person.actor, project=person.project, name=f"m{number}")
    return person


FOREIGN_KEY = """
    SELECT conname FROM pg_constraint
    WHERE conrelid = 'accounts_auditseal'::regclass AND contype = 'f'
"""


def past_the_platform(statement: str, *values: object) -> None:
    """As the owner of the database would do it: without triggers and foreign keys."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FOREIGN_KEY)
        (name,) = cursor.fetchone()
        for table in ("accounts_auditentry", "accounts_auditseal"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(f"ALTER TABLE accounts_auditseal DROP CONSTRAINT {name}")
        cursor.execute(statement, values)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            f"ALTER TABLE accounts_auditseal ADD CONSTRAINT {name} FOREIGN KEY (entry_id)"
            " REFERENCES accounts_auditentry (id) DEFERRABLE INITIALLY DEFERRED NOT VALID"
        )
        for table in ("accounts_auditentry", "accounts_auditseal"):
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def verified(*words: str) -> str:
    said = io.StringIO()
    call_command("verify_audit", *words, stdout=said)
    return said.getvalue()


def found(*words: str) -> str:
    said = io.StringIO()
    with pytest.raises(CommandError) as refusal:
        call_command("verify_audit", *words, stdout=said)
    assert refusal.value.returncode == 1
    return said.getvalue()


def entry(number: int) -> AuditEntry:
    return AuditEntry.objects.filter(verb="register_model").order_by("id")[number]


def test_each_entry_is_sealed_when_it_is_committed(ann: Person) -> None:
    assert AuditSeal.objects.count() == AuditEntry.objects.count()
    said = verified()
    assert "All is well." in said
    assert f"alpha:5:{AuditSeal.objects.get(entry=entry(4)).hash}" in said


def test_what_is_rolled_back_leaves_no_link(ann: Person) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        register_model(actor=ann.actor, project=ann.project, name="never")
        raise RuntimeError
    verified()


def test_a_changed_entry_is_found(ann: Person) -> None:
    past_the_platform("UPDATE accounts_auditentry SET actor_id = NULL WHERE id = %s", entry(2).pk)
    assert found() == f"alpha, position 3: entry {entry(2).pk}, or the link before it, was changed.\n"


def test_a_changed_detail_is_found(ann: Person) -> None:
    past_the_platform(
        'UPDATE accounts_auditentry SET after = \'{"name": "other"}\' WHERE id = %s', entry(0).pk
    )
    assert "position 1" in found("--project", "alpha")


def test_a_removed_entry_is_found_with_and_without_its_link(ann: Person) -> None:
    gone = entry(2).pk
    past_the_platform("DELETE FROM accounts_auditentry WHERE id = %s", gone)
    assert "position 3: its entry is missing" in found()
    past_the_platform("DELETE FROM accounts_auditseal WHERE entry_id = %s", gone)
    assert "position 4: 1 links before it are missing" in found()


def test_an_inserted_entry_is_found(ann: Person) -> None:
    past_the_platform(
        "INSERT INTO accounts_auditentry (at, project_id, actor_id, token_prefix, door, verb, object_type, object_id,"
        " request_id) VALUES (now(), %s, %s, '', 'rest', 'approve', 'approval', 'apr-1', '')",
        ann.project.pk,
        ann.user.pk,
    )
    assert "has no link; it was inserted past the platform" in found()


def test_a_cut_end_is_found_by_a_head_that_was_kept(ann: Person) -> None:
    (head,) = [each for each in chain.heads() if each.chain == "alpha"]
    last = entry(4).pk
    past_the_platform("DELETE FROM accounts_auditseal WHERE entry_id = %s", last)
    past_the_platform("DELETE FROM accounts_auditentry WHERE id = %s", last)
    verified()
    assert "it is not the link that is expected" in found("--expect", str(head))
    with pytest.raises(CommandError, match="not written as"):
        verified("--expect", "nonsense")


def test_links_are_never_changed_through_the_platform(ann: Person) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        AuditSeal.objects.update(hash="0" * 64)


def test_many_writers_at_once_make_one_chain_without_a_gap(ann: Person) -> None:
    def write(number: int) -> None:
        try:
            register_model(actor=ann.actor, project=ann.project, name=f"at-once-{number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(80)))
    positions = AuditSeal.objects.filter(chain=ann.project.pk).values_list("position", flat=True)
    assert list(positions) == list(range(1, 86))
    verified()


def test_each_project_has_a_chain_of_its_own(ann: Person) -> None:
    other = make_person(make_project("beta"))
    register_model(actor=other.actor, project=other.project, name="m")
    assert {head.chain: head.position for head in chain.heads()}["beta"] == 1
    past_the_platform("UPDATE accounts_auditentry SET verb = 'x' WHERE id = %s", entry(1).pk)
    assert "All is well." in verified("--project", "beta")
