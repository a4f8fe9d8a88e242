"""Doors for programs: OpenAI's API, REST, MCP, webhooks, and the document that describes them."""
