"""A private PostgreSQL and Mosquitto, and the whole stack on top, as child processes.

``parts`` finds the programs, ``children`` starts and ends processes, ``postgres`` and
``mosquitto`` run one service each, ``datadir`` guards the directory they live in, and ``stack``
puts everything together for ``tracker up``.
"""
