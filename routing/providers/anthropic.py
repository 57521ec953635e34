"""Anthropic, through the anthropic SDK. Callers' `anthropic-beta` and `-version` are sent on.

A call without a version of its own is sent as `API_VERSION`: the next one, which the SDK would
send, refuses `temperature`, `top_p` and `top_k`, which our translations pass on.
Source: platform.claude.com/docs/en/api/versioning, 2026-11-24.
"""

import httpx2
from anthropic import AsyncAnthropic

from routing.base_urls import base_url_of
from routing.providers.sdk_client import PLACEHOLDER_KEY, SdkUpstream
from routing.providers.upstream import ProviderConfig, Upstream

API_VERSION = "2023-06-01"
PATHS = {"anthropic_messages": "/v1/messages"}


def build(config: ProviderConfig) -> Upstream:
    def sdk(client: httpx2.AsyncClient) -> AsyncAnthropic:
        return AsyncAnthropic(
            api_key=config.secret.reveal() or PLACEHOLDER_KEY,
            base_url=base_url_of(config.kind, config.base_url),
            default_headers={"anthropic-version": API_VERSION},
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
