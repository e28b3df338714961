"""JupyterHub's configuration: everything comes from the instance file that STRONGROOM_INSTANCE names."""

from strongroom_hub.hub import configure, operators_files

for file in operators_files():
    load_subconfig(file)
configure(c)
