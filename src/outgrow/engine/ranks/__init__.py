"""Ranks that are ordinary processes: started here, or by a launcher such as torchrun or mpirun."""
