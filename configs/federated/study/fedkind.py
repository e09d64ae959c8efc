# A round is of one kind of task at the sites that have it (FEDMEKI): three
# rounds a cycle, whose teacher keeps as much of a cycle as that of fedavg.py.
_base_ = './fedavg.py'
federated = dict(unit='kind', server_teacher=0.64)
