"""QMTP and QMQP: protocol, servers, and the QMQP client."""
