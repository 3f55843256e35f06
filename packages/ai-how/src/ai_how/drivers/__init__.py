"""Ways to make nodes. One contract, one file for each."""
