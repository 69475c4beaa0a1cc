"""How gradients and information flow through a spec: Jacobians, paths, cost, theory, training."""
