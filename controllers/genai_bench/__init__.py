"""Measures an engine with genai-bench, which runs as a child process."""
