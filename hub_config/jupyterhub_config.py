"""JupyterHub's configuration: everything comes from the instance file that STRONGROOM_INSTANCE names."""

from strongroom_hub.hub import configure

configure(c)
