"""Evidence packs: what a court or another customs service is given of a delivery."""
