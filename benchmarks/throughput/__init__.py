"""How close runs come to what the latencies, the CPU and the storage allow."""
