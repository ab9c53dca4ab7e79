"""Files that leave or enter the process: certificates that can be checked again, networks."""

from jaxcert.formats.certificate import Certificate, read_certificate, write_certificate
from jaxcert.formats.check import Verdict, check_certificate, make_certificate
from jaxcert.formats.model_hash import model_hash
from jaxcert.formats.plain_network import PlainNetwork, read_plain_network

__all__ = [
    "Certificate",
    "PlainNetwork",
    "Verdict",
    "check_certificate",
    "make_certificate",
    "model_hash",
    "read_certificate",
    "read_plain_network",
    "write_certificate",
]
