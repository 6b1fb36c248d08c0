"""Websockets of the live pages. They read the database; the channel layer only rings."""
