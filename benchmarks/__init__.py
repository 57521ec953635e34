"""What the gateway costs, measured: `make bench`."""
