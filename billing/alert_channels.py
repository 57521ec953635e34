"""The two ways an alert goes out: a mail, and a signed POST to a webhook.

A channel lives for one sweep. It raises `NotDeliveredError`, in words for administrators, which
never repeat a webhook's address: such an address is often a secret itself.
"""

import hashlib
import hmac
import http.client
import smtplib
import ssl
from base64 import b64encode
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

import orjson
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from billing.alert_troubles import (
    AddressesRefusedError,
    NotDeliveredError,
    mail_trouble,
    refusal_of_address,
    webhook_trouble,
)
from billing.models import Alert

POST_SECONDS = 5


class Channel(Protocol):
    def send(self, alert: Alert, now: datetime) -> None:
        """Raises NotDeliveredError."""

    def close(self) -> None: ...


class Mail:
    """Over one connection to the mail server for all mails of a sweep."""

    def __init__(self) -> None:
        self._connection = get_connection()

    def send(self, alert: Alert, now: datetime) -> None:
        """Mail it to each address that does not have it yet.

        One by one: of a mail to several, Django does not tell which of them the server refused.
        """
        refused: dict[str, int] = {}
        for address in settings.ALERT_EMAILS:
            if address in alert.mailed_to:
                continue
            try:
                self._send_to(address, alert)
            except (smtplib.SMTPException, OSError, UnicodeError) as error:
                code = refusal_of_address(error)
                if code is None:
                    raise NotDeliveredError(mail_trouble(error)) from error
                refused[address] = code
            else:
                # At once: what happens to the others must not make us repeat this one.
                alert.mailed_to.append(address)
                alert.save(update_fields=["mailed_to"])
        if refused:
            raise AddressesRefusedError(refused)

    def _send_to(self, address: str, alert: Alert) -> None:
        message = EmailMessage(
            subject=f"{settings.EMAIL_SUBJECT_PREFIX}{alert.says['title']}",
            body=alert.says["text"],
            to=[address],
            connection=self._connection,
            # The id is the same at every try: who gets a mail twice can tell.
            headers={
                "To": ", ".join(settings.ALERT_EMAILS),
                "Message-ID": f"<alert-{alert.pk.hex}@{_domain()}>",
            },
        )
        self._connection.open()
        message.send()

    def close(self) -> None:
        try:
            self._connection.close()
        except (smtplib.SMTPException, OSError):
            # Everything was taken before; only the farewell was lost.
            return


class Webhook:
    """One POST for each alert. No redirect is followed; any 2xx is success."""

    def __init__(self) -> None:
        self._url = urlsplit(settings.ALERT_WEBHOOK_URL)

    def send(self, alert: Alert, now: datetime) -> None:
        body = webhook_body(alert)
        headers = signed_headers(
            settings.ALERT_WEBHOOK_SECRET_KEY, f"alert_{alert.pk.hex}", now, body
        )
        try:
            status = self._post(body, headers)
        except (http.client.HTTPException, OSError, UnicodeError) as error:
            raise NotDeliveredError(webhook_trouble(error)) from error
        if not 200 <= status < 300:
            raise NotDeliveredError(f"answered {status}")

    def close(self) -> None:
        """Nothing is kept open."""

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        host = self._url.hostname or ""
        connection = (
            http.client.HTTPSConnection(
                host,
                self._url.port,
                timeout=POST_SECONDS,
                context=ssl.create_default_context(),
            )
            if self._url.scheme == "https"
            else http.client.HTTPConnection(host, self._url.port, timeout=POST_SECONDS)
        )
        target = self._url._replace(scheme="", netloc="", fragment="").geturl()
        try:
            connection.request("POST", target or "/", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()


def webhook_body(alert: Alert) -> bytes:
    return orjson.dumps(
        {
            "type": f"alert.{alert.kind}",
            "timestamp": alert.created_at.isoformat(),
            "data": {"title": alert.says["title"], **alert.says["data"]},
        }
    )


def signed_headers(key: bytes, message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Sign as Standard Webhooks has it, and once more over the body alone.

    Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    timestamp = str(int(now.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "content-type": "application/json",
        "user-agent": "ai-gateway",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
        "x-gateway-signature": f"sha256={hmac.digest(key, body, hashlib.sha256).hex()}",
    }


def _domain() -> str:
    return urlsplit(settings.PUBLIC_URL).hostname or "localhost"
