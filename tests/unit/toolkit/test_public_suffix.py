"""Public suffixes: what the library says about the whole list holds for the part that is read."""

import pytest
from publicsuffixlist import PublicSuffixList

from eqmail_setup.network.public_suffix import is_public_suffix

DOMAINS = (
    *("co.uk", "example.co.uk", "x.ck", "www.ck", "github.io", "kawasaki.jp", "a.kawasaki.jp", "city.kawasaki.jp"),
    *("example.org", "mail.example.org", "CO.UK", "com.br", "xn--55qx5d.cn", "xn--mgba3a4f16a.ir", "个人.hk", "a.中国"),
)


@pytest.fixture(scope="module")
def whole_list() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_part_of_the_list_gives_the_answer_of_the_whole(domain: str, whole_list: PublicSuffixList) -> None:
    assert is_public_suffix(domain) == whole_list.is_public(domain.lower())


def test_a_name_without_a_dot_is_a_host() -> None:
    assert not is_public_suffix("com")
