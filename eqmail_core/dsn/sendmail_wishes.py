"""The options of sendmail by which a sender asks for news: -N, -R and -V are NOTIFY, RET and ENVID of SMTP.

Source: RFC 3461; sendmail(8).
"""

from eqmail_core.dsn.parameters import DsnParameters, RecipientDsn, encode_xtext, index_key, is_envid
from eqmail_core.dsn.smtp_parameters import BadParameter, read_notify, read_ret


def dsn_of_options(options: list[tuple[bytes, bytes]]) -> DsnParameters:
    """The wishes in these options, those about the recipient at place 0 being about each.

    An ENVID that is no xtext becomes one.  Fails: BadParameter.
    """
    dsn = DsnParameters()
    for letter, argument in options:
        if letter == b"N":
            dsn.recipients[index_key(0)] = RecipientDsn(read_notify(argument))
        elif letter == b"R":
            dsn.ret = read_ret(argument)
        else:
            dsn.envid = argument if is_envid(argument) else encode_xtext(argument)
            if not is_envid(dsn.envid):
                raise BadParameter
    return dsn
