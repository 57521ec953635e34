"""Try a provider's address and credential, for the person who has just entered them."""

import asyncio
from dataclasses import dataclass

from routing.catalogue import config_of
from routing.errors import UpstreamError, UpstreamRefusedRequestError
from routing.models import Provider
from routing.outbound import OutboundRefusedError
from routing.providers import build

CHECK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Checked:
    """Attributes: text: in our words alone, so that a check reads nothing out of a network."""

    ok: bool
    text: str


def check_connection(provider: Provider) -> Checked:
    """Have the provider list its models, by the way that calls take. Synchronous."""
    return asyncio.run(_check(provider))


async def _check(provider: Provider) -> Checked:
    upstream = build(config_of(provider))
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await upstream.check()
    except UpstreamRefusedRequestError as error:
        return Checked(False, f"The provider answered with HTTP {error.status}.")
    except UpstreamError as error:
        if isinstance(error.__cause__, OutboundRefusedError):
            return Checked(False, str(error.__cause__))
        return Checked(False, error.message)
    except TimeoutError:
        return Checked(False, f"No answer within {CHECK_SECONDS:g} seconds.")
    finally:
        await upstream.close()
    return Checked(True, "The provider answered, and took the credential.")
