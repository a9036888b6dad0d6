"""The scenarios that come with the simulator; `firmware_sim run NAME` plays one."""
