import pytest
from sqlalchemy import select, update

from gateway.keys import (
    ApiKeyNotFound,
    ApiKeyRow,
    OwnerInvalid,
    OwnerReserved,
    ScopeUnknown,
    create_key,
    find_principal,
    list_keys,
    revoke_key,
)

pytestmark = pytest.mark.services


def test_a_key_opens_the_door_until_it_is_revoked(database):
    key, described = create_key(database, name="lab", owner="team-a", scopes=["write"])
    principal = find_principal(database, key)
    assert (principal.key_id, principal.owner) == (described["id"], "team-a")
    assert principal.scopes == {"read", "write"}
    assert principal.sees == "team-a"
    revoke_key(database, described["id"])
    revoke_key(database, described["id"])
    assert find_principal(database, key) is None


def test_an_administrator_sees_everything(database):
    key, _ = create_key(database, name="ops", owner="ops", scopes=["admin"])
    principal = find_principal(database, key)
    assert principal.scopes == {"read", "write", "admin"}
    assert principal.sees is None


def test_the_key_itself_is_stored_nowhere(database):
    key, _ = create_key(database, name="lab", owner="team-a", scopes=["read"])
    with database.reading() as session:
        row = session.scalars(select(ApiKeyRow)).one()
    assert key.rpartition("_")[2] not in str(vars(row))
    assert key not in str(list_keys(database))


def test_use_is_noted(database):
    key, _ = create_key(database, name="lab", owner="team-a", scopes=["read"])
    assert list_keys(database)[0]["last_used_at"] is None
    find_principal(database, key)
    assert list_keys(database)[0]["last_used_at"] is not None


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "everything"]])
def test_unknown_scopes_are_refused(database, scopes):
    with pytest.raises(ScopeUnknown):
        create_key(database, name="lab", owner="team-a", scopes=scopes)


@pytest.mark.parametrize("owner", ["", " ", "team-a ", "team-a\n", "Zürich", "-a", ".a", "a b", "a" * 101])
def test_an_owner_that_no_header_carries_is_refused(database, owner):
    with pytest.raises(OwnerInvalid, match=r"A-Z, a-z, 0-9, '\.', '_', '-'"):
        create_key(database, name="lab", owner=owner, scopes=["write"])
    assert list_keys(database) == []


@pytest.mark.parametrize("owner", ["a", "7T", "team-a", "lab_2.zurich", "a" * 100])
def test_an_owner_of_plain_characters_is_kept_as_it_is(database, owner):
    key, _ = create_key(database, name="lab", owner=owner, scopes=["write"])
    assert find_principal(database, key).owner == owner


def test_the_owner_of_what_came_with_the_platform_is_reserved(database):
    with pytest.raises(OwnerReserved):
        create_key(database, name="lab", owner="everyone", scopes=["write"])


@pytest.mark.parametrize("owner", ["", "team-a ", "Zürich"])
def test_a_key_made_before_with_another_owner_is_listed_and_revoked(database, owner):
    _, described = create_key(database, name="lab", owner="team-a", scopes=["write"])
    with database.writing() as session:
        session.execute(update(ApiKeyRow).values(owner=owner))
    assert [key["owner"] for key in list_keys(database)] == [owner]
    revoke_key(database, described["id"])
    assert list_keys(database)[0]["revoked_at"] is not None


def test_revoking_an_unknown_key(database):
    with pytest.raises(ApiKeyNotFound):
        revoke_key(database, "000000000000")
