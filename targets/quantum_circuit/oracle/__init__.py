"""Binary and quantised networks as exact reversible circuits, and Grover's search over their inputs."""
