"""Side-by-side benchmarks: outgrow and its peers on the same cores in the same run."""
