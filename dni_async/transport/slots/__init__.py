"""Memory that both ends of a link map, and how it comes to them."""
