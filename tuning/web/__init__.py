"""The pages: server-rendered, kept live by websockets and htmx fragments."""
