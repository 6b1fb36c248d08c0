"""An inference server without a model, for tests of everything around one."""
