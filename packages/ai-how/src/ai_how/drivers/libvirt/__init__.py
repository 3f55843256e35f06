"""The driver `libvirt`: every node is a virtual machine with a kernel of its own."""
