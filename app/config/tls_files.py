"""Checks TLS files of operators before they are used. No message quotes what a file holds."""

import ssl
from pathlib import Path

from app.domain.errors import OperatorError
from app.domain.grant import TlsFiles


def check_ca_file(file: Path, name: str) -> None:
    """Raises OperatorError that begins with `name` unless the file holds PEM certificates."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(str(file))
    except ssl.SSLError:
        raise OperatorError(f"{name}: {file} holds no CA certificate in PEM") from None
    except OSError as error:
        raise OperatorError(f"{name}: cannot read {file}: {error.strerror}") from None


def check_tls_files(name: str, files: TlsFiles) -> None:
    """Raises OperatorError that begins with `name` if the authority, or the certificate with its key, is unusable."""
    if files.ca:
        check_ca_file(Path(files.ca), f"{name}.ca_file")
    if not files.certificate:
        return
    try:
        # Without a password argument, OpenSSL would prompt at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError:
        reason = "is no certificate in PEM with its private key, without a passphrase"
        raise OperatorError(f"{name}.certificate_file: {files.certificate} {reason}") from None
    except OSError as error:
        where = " or ".join(filter(None, (files.certificate, files.key)))
        raise OperatorError(f"{name}: cannot read {where}: {error.strerror}") from None
