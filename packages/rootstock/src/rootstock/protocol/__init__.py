"""What goes over the wire: the i-PI protocol, and the extension that two rootstocks agree on."""
