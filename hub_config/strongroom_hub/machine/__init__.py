"""What `strongroom doctor` looks at: the machine, the box that kernels get on it, and the folders of an instance."""
