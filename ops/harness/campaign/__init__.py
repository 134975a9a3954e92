"""Campaigns of faults: everything that can break is broken, again and again, under write load, and then the oracle counts.

    proxy.py     a network of ours between the agents and each server
    world.py     the servers behind it
    crew.py      the agents, restarted as a pod would be, their exit codes looked at
    ladder.py    the slot and the position, compared all the time (C4)
    faults.py    one function for each kind of fault
    rounds.py    load, faults, verdict; a campaign is rounds of that
    outage.py    ten minutes without a server (C7)
"""
