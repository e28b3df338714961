"""The gate: the only code through which messages pass between browsers and a kernel.

One `KernelGate` (`life`) stands before each kernel and holds its only sockets; `Gate` (`pages`) is one browser's
websocket. So every message of a kernel is judged and counted once, however many pages listen, and cells are counted
even when none does.

Browser to kernel (`inbound`): what can run code is recorded by control first and forwarded after the entry is durable,
in order. A refusal becomes the cell's error output, and the notebook stays usable. The kernel sees exactly what was
recorded.

Kernel to browser (`outbound`): each message is rebuilt from its schema (`canon`), tied to the real request that it
answers (`requests`), and goes through that request's budget (`budget`). What answers no request of ours is dropped.
"""

from strongroom_lab.gate.life import KernelGate
from strongroom_lab.gate.pages import Gate

__all__ = ["Gate", "KernelGate"]
