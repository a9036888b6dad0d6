"""How good detection is: a national mix on the whole stack, held against its truth."""
