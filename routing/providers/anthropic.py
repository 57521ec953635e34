"""Anthropic, through the anthropic SDK. Callers' `anthropic-beta` and `-version` are sent on."""

import httpx2
from anthropic import AsyncAnthropic

from routing.base_urls import base_url_of
from routing.providers.sdk_client import PLACEHOLDER_KEY, SdkUpstream
from routing.providers.upstream import ProviderConfig, Upstream

PATHS = {"anthropic_messages": "/v1/messages"}


def build(config: ProviderConfig) -> Upstream:
    def sdk(client: httpx2.AsyncClient) -> AsyncAnthropic:
        return AsyncAnthropic(
            api_key=config.secret.reveal() or PLACEHOLDER_KEY,
            base_url=base_url_of(config.kind, config.base_url),
            max_retries=0,
            http_client=client,
        )

    async def post(client: httpx2.AsyncClient, path: str) -> None:
        await sdk(client).post(path, cast_to=httpx2.Response, body={})

    async def list_models(client: httpx2.AsyncClient) -> None:
        await sdk(client).models.list()

    return SdkUpstream(
        config,
        paths=PATHS,
        sent=frozenset({"anthropic-version"}),
        passed=frozenset({"anthropic-beta", "anthropic-version"}),
        post=post,
        list_models=list_models,
    )
