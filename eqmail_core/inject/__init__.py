"""Injection of messages: header rewriting, envelope, command lines of sendmail."""
