"""The sealed box that a kernel runs in, and the provisioner that puts it there."""
