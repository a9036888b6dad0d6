"""Tables of the risk block: indicators with their weights, goods classes, corridors. Pure."""
