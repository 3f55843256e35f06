"""GPUs of this machine: what there is, what can be given to a node, how MIG divides one."""
