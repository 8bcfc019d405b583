"""The SMTP and LMTP client, and the formats that client and server share."""
