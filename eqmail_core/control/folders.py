"""The folders that may lie among the control files; the only home of their names and manuals."""

TLS_HOSTS = "tlshosts"
"""Folder with a file NAME.pem for every host to which mail may go only by TLS."""

ONLY_LISTED = f"{TLS_HOSTS}/exhaustivelist"
"""File whose existence keeps all other hosts from being offered TLS."""

PLAIN_HOSTS = "notlshosts"
"""Folder with a file for every host to which no TLS is tried."""

TLS_CERTIFICATES = "tlscerts"
"""Folder with a file NAME.pem for every further name under which clients may know the SMTP server."""

DKIM_KEYS = "dkim"
"""Folder with a folder for every domain whose mail is signed, and in it a file SELECTOR.pem for every key."""

FOLDERS = {
    DKIM_KEYS: "DOMAIN/SELECTOR.pem holds a private key that signs mail of DOMAIN (DKIM); the remote service alone may "
    "read it. DOMAIN/states says which keys sign; without it all do. `eqmail dkim` keeps both.",
    TLS_CERTIFICATES: "NAME.pem holds the certificate chain and the key that the SMTP server shows to clients who ask "
    "for the host NAME (SNI). All others see servercert.pem.",
    TLS_HOSTS: "FQDN.pem holds the authorities of the certificate of the mail exchanger FQDN; without TLS and a valid "
    "certificate for that name no mail goes there. While the file exhaustivelist exists, TLS is tried with no other.",
    PLAIN_HOSTS: "A file named FQDN keeps TLS from being tried with the mail exchanger FQDN.",
}
"""Folders that may lie among the control files, with their manuals."""
