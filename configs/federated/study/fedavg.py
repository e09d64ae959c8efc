# Three sites; a round is a cycle of each, 12 rounds. As many steps of each
# task as central.py, whose teacher keeps .8 a pass, so .26 a cycle.
_base_ = './central.py'
federated = dict(
    sites=dict(
        hospital_a=['phantom_a'],
        hospital_b=['phantom_b'],
        hospital_c=['phantom_c'],
    ),
    server_teacher=0.26,
)
