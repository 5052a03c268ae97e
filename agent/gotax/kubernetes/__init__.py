"""Names for containers: pods and workloads, from the API server or the kubelet. Optional."""
