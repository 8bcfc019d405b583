"""users/cdb: made from users/assign, and looked up."""

import os
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_core.users.assign_file import BadAssign
from eqmail_core.users.database import KeptDatabase, compile_users, find_user
from eqmail_core.users.user import LookupFailed, User

JOE = User(b"joe", 501, 500, b"/home/joe", b"", b"")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "users").mkdir()
    return Site(home=str(tmp_path))


def test_without_a_database_getpw_is_asked(site: Site) -> None:
    assert find_user(site, b"joe") is None


def test_a_new_database_counts_at_once(site: Site) -> None:
    compile_users(site, [b".\n"])
    assert find_user(site, b"joe") is None
    compile_users(site, [b"=joe:joe:501:500:/home/joe:::\n", b".\n"])
    assert find_user(site, b"JOE") == JOE


def test_bad_text_leaves_the_old_database_and_nothing_else(site: Site) -> None:
    compile_users(site, [b"=joe:joe:501:500:/home/joe:::\n", b".\n"])
    with pytest.raises(BadAssign):
        compile_users(site, [b"=jim:jim:502:500:/home/jim:::\n", b"broken\n"])
    assert find_user(site, b"joe") == JOE
    assert os.listdir(site.users) == ["cdb"]


@pytest.mark.parametrize("length", [0, 5, 2047, 2048, 2060])
def test_a_truncated_database_is_an_error_and_no_missing_user(site: Site, length: int) -> None:
    compile_users(site, [b"=joe:joe:501:500:/home/joe:::\n", b".\n"])
    path = Path(site.users, "cdb")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(LookupFailed) as failed:
        find_user(site, b"joe")
    assert failed.value.code == 117


def test_a_database_that_cannot_be_opened_is_an_error(site: Site) -> None:
    Path(site.users, "cdb").symlink_to("cdb")
    with pytest.raises(LookupFailed) as failed:
        find_user(site, b"joe")
    assert failed.value.code == 117


def test_a_kept_database_follows_every_change(site: Site) -> None:
    kept = KeptDatabase(site)
    assert kept.find(b"joe") is None
    compile_users(site, [b"=joe:joe:501:500:/home/joe:::\n", b".\n"])
    assert kept.find(b"joe") == kept.find(b"JOE") == JOE
    compile_users(site, [b".\n"])
    assert kept.find(b"joe") is None
    Path(site.users, "cdb").write_bytes(b"short")
    with pytest.raises(LookupFailed):
        kept.find(b"joe")
    Path(site.users, "cdb").unlink()
    assert kept.find(b"joe") is None
    kept.close()
