"""Random workflows under random schedules: the simulator.

make simulate ARGS="--seconds 600"                  # a long run
python -m tests.simulation --replay FILE            # one that failed, again
"""
