"""OpenAI, and every server that speaks its API (vLLM, Ollama, …), through the openai SDK."""

import httpx2
from openai import AsyncOpenAI

from routing.base_urls import base_url_of
from routing.providers.sdk_client import PLACEHOLDER_KEY, SdkUpstream
from routing.providers.upstream import ProviderConfig, Upstream

PATHS = {"openai_chat": "/chat/completions"}


def build(config: ProviderConfig) -> Upstream:
    def sdk(client: httpx2.AsyncClient) -> AsyncOpenAI:
        return AsyncOpenAI(
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
        sent=frozenset(),
        passed=frozenset(),
        post=post,
        list_models=list_models,
    )
