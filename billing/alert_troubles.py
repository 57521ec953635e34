"""Why a channel did not take an alert, in words for administrators. Pure."""

import http.client
import smtplib
import ssl
from collections.abc import Mapping

# smtplib has one class for all that a server does not offer, and says which in its own words.
_NOT_OFFERED = {
    "STARTTLS": "the mail server offers no STARTTLS",
    "AUTH": "the mail server offers no login",
    "SMTPUTF8": "the mail server takes only ASCII in addresses",
}
_CLOSING = 421


class NotDeliveredError(Exception):
    """A channel did not take an alert; it may be tried again."""


class AddressesRefusedError(NotDeliveredError):
    """The mail server answered, and refused some addresses; the others have the mail."""

    def __init__(self, codes: Mapping[str, int]) -> None:
        """Args: codes: the server's answer for each address that was refused."""
        named = ", ".join(f"{address} ({code})" for address, code in codes.items())
        super().__init__(f"the mail server refused {named}")


def refusal_of_address(error: Exception) -> int | None:
    """The code that refused one address; None where the server takes no mail at all."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code = next(iter(error.recipients.values()))[0]
    elif isinstance(error, smtplib.SMTPDataError):
        code = error.smtp_code
    else:
        return None
    return None if code == _CLOSING else code


def mail_trouble(error: Exception) -> str:
    """Why the mail server took nothing."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"the mail server answered {_CLOSING}"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the mail server refused the login ({error.smtp_code})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        offered = (words for name, words in _NOT_OFFERED.items() if name in str(error))
        return next(offered, "the mail server does not offer what the mail needs")
    if isinstance(error, smtplib.SMTPServerDisconnected):
        # What smtplib met while it read an answer.
        if isinstance(error.__context__, TimeoutError):
            return "the mail server did not answer in time"
        return "the mail server closed the connection"
    if isinstance(error, smtplib.SMTPException):
        return "the mail server offers no login that we know"
    return f"the mail server cannot be reached: {_of_connection(error)}"


def webhook_trouble(error: Exception) -> str:
    """Why the webhook gave no answer."""
    if isinstance(error, http.client.RemoteDisconnected):
        return "no answer: the connection was closed"
    if isinstance(error, http.client.HTTPException):
        return "the answer is no HTTP"
    return f"no answer: {_of_connection(error)}"


def _of_connection(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "TLS could not be agreed on"
    if isinstance(error, UnicodeError):
        return "its name is no host name"
    words = getattr(error, "strerror", None)
    return str(words) if words else "the connection broke"
