"""An installation as one document: written from it (dump), and made so (apply)."""
