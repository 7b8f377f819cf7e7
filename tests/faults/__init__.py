"""The fault matrix: every operation on a store, struck by every fault that this machine can make.

``python -m faults`` runs it and prints it (``make faults``). One file for each family of faults;
``outcomes`` decides what a trial ended in, ``scenario`` knows the operations and looks at stores.
"""
