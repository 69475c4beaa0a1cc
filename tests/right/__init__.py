"""Right attentions, each written in another way, none with a line of the package's own code."""
