"""TLS contexts for the servers of tests."""

import ssl


def server_context(pem: str) -> ssl.SSLContext:
    """pem: a file with a certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
