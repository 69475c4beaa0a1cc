"""How information and gradients flow through a spec, and what computing it costs."""
