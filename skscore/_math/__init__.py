"""Mathematics on tensors: calculus, integration, Gaussians in closed form, angles of noise."""
