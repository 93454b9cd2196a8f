"""What a job will take, before it runs: probes on samples of its rows, and what follows from them."""
