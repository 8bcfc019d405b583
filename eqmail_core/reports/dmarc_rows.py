"""What a checked message is in an aggregate report of DMARC: a row, and the published policy that the row belongs to.

Both are texts of JSON, equal for messages that a report counts together.

Fails: never.
Source: RFC 9990 sections 3.1 and 3.2.
"""

import json

from eqmail_core.mail_auth.dmarc import FAIL, PASS
from eqmail_core.mail_auth.dmarc_record import NONE, QUARANTINE, REJECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.mail_auth.dmarc_record import DmarcRecord
    from eqmail_core.mail_auth.message_check import CheckedMessage, MessageSource

MAX_SIGNATURES = 8
"""Most signatures of a row."""

MAX_URIS = 8
"""Most addresses of a policy that are kept."""


def report_row(
    found: "CheckedMessage", source: "MessageSource", is_enforced: bool, discovery: str
) -> tuple[str, str, str] | None:
    """Return the domain of the policy, the policy and the row; None for a message that no report counts.

    `is_enforced`: whether policies are applied here. `discovery`: treewalk or psl.
    """
    dmarc = found.dmarc
    record = dmarc.record
    if record is None or dmarc.result not in (PASS, FAIL) or not _mail_addresses(record):
        return None
    domain = _text(dmarc.record_domain)
    return domain, _render(_policy(record, domain, discovery)), _render(_row(found, source, is_enforced))


def _mail_addresses(record: "DmarcRecord") -> list[bytes]:
    return [uri for uri in record.reports if uri[:7].lower() == b"mailto:"][:MAX_URIS]


def _policy(record: "DmarcRecord", domain: str, discovery: str) -> "dict[str, object]":
    subdomains = record.policy if record.subdomain_policy is None else record.subdomain_policy
    found: dict[str, object] = {
        "domain": domain,
        "discovery_method": discovery,
        "adkim": "s" if record.strict_dkim else "r",
        "aspf": "s" if record.strict_spf else "r",
        "p": _text(record.policy),
        "sp": _text(subdomains),
        "testing": "y" if record.is_testing else "n",
        "rua": [_text(uri) for uri in _mail_addresses(record)],
    }
    if record.missing_policy is not None:
        found["np"] = _text(record.missing_policy)
    return found


def _row(found: "CheckedMessage", source: "MessageSource", is_enforced: bool) -> "dict[str, object]":
    dmarc, spf = found.dmarc, found.spf
    row: dict[str, object] = {
        "ip": _text(source.ip),
        "dkim": _word(dmarc.dkim_passes),
        "spf": _word(dmarc.spf_passes),
        "header_from": _text(dmarc.domain),
        "envelope_from": _text(source.sender.rpartition(b"@")[2].lower()),
        "signatures": [
            {
                "domain": _text(it.domain),
                "selector": _text(it.signature.selector),
                "result": _text(it.result),
            }
            for it in found.dkim
            if it.signature is not None
        ][:MAX_SIGNATURES],
        "spf_result": {
            "domain": _text(spf.domain),
            "scope": "mfrom" if spf.identity == b"mailfrom" else "helo",
            "result": _text(spf.result),
        },
    }
    if dmarc.result == PASS:
        row["disposition"] = "none" if dmarc.policy == NONE else "pass"
    elif is_enforced and found.action in (QUARANTINE, REJECT):
        row["disposition"] = _text(found.action)
    else:
        row["disposition"] = "none"
        if found.is_overridden:
            row["reason"] = ("local_policy", "arc=pass of a trusted sealer")
        elif dmarc.policy != NONE:
            row["reason"] = ("local_policy", "policies are not applied here")
    return row


def _word(passes: bool) -> str:
    return "pass" if passes else "fail"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _render(value: "Mapping[str, object]") -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
