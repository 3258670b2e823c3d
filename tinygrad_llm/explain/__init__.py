"""Looking inside: gradcheck, replay of a backward pass, graphs, the NaN finder, attention maps."""
