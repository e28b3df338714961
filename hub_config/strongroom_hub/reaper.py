"""Clears what an instance has left on the machine: processes, control groups, mounts, loop devices.

Everything that the hub makes outside its folders carries the instance's own name or lies below its folders; nothing
else is ever touched. Call it only while holding the instance's lock.
"""

from __future__ import annotations

from strongroom_hub import cgroups, mounts, work_images
from strongroom_hub.config import Instance


def reap(instance: Instance) -> None:
    """End and remove what earlier hubs of this instance left; nothing happens without root. Raises OSError."""
    if instance.uids is None:
        return
    hierarchy = cgroups.find()
    if hierarchy is not None:
        cgroups.sweep(hierarchy, instance)
    for folder in (instance.run, instance.projects_dir, work_images.folder(instance)):
        mounts.unmount_below(folder)
    work_images.release_all(instance)
