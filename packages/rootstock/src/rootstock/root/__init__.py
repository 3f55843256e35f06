"""The root: one folder that holds environments, interpreters, weights and what is known of them."""
