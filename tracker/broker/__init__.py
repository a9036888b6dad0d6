"""A broker that lets each device write to its own topics only, and reads who exists from here.

``rules`` writes Mosquitto's configuration and access list, ``passwords`` its hashes, ``ca`` is the
certificate authority for pilots, ``folder`` puts the files where the broker reads them, and
``sync`` keeps them equal to the database while the broker runs.
"""
