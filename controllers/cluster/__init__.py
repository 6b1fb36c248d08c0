"""Engines in a Kubernetes cluster, served by OME: what is sent there and what is read back."""
