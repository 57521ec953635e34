"""The Chat Completions format of OpenAI and of the many servers that speak it."""
