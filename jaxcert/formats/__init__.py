"""Files that leave the process: certificates that can be checked again."""

from jaxcert.formats.certificate import Certificate, read_certificate, write_certificate
from jaxcert.formats.check import Verdict, check_certificate, make_certificate
from jaxcert.formats.model_hash import model_hash

__all__ = [
    "Certificate",
    "Verdict",
    "check_certificate",
    "make_certificate",
    "model_hash",
    "read_certificate",
    "write_certificate",
]
