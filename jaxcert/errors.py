"""The exception tree: everything jaxcert raises on purpose derives from `JaxcertError`.

A message is one sentence for a person: what failed, what was expected and got, and what
to do. The command line prints it without a traceback and exits with status 2.
"""


class JaxcertError(Exception):
    """Root of all errors that jaxcert raises on purpose."""


class InvalidInputError(JaxcertError, ValueError):
    """A value, shape or type that the called function does not accept."""


class UnsupportedPrimitiveError(JaxcertError, NotImplementedError):
    """A function uses an operation for which an engine has no sound rule."""


class DataError(JaxcertError):
    """A data set is missing, incomplete or damaged."""


class CheckpointError(JaxcertError):
    """A saved run or checkpoint is missing, incomplete or belongs to another configuration."""


class ConfigError(JaxcertError, ValueError):
    """An unknown name or an impossible combination in a configuration or on the command line."""


class InconsistentReportError(JaxcertError):
    """A report breaks clean error <= attacked error <= certified error: something is wrong."""


class CertificateError(JaxcertError):
    """A certificate file is missing, damaged, of another format, or contradicts itself."""
