"""OME mode against Kubernetes' own servers; OME's controller and the nodes have stand-ins."""
