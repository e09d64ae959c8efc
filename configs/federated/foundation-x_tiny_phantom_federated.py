# The demo's three phantom hospitals, which share no image.
_base_ = ['../phantom/foundation-x_tiny_phantom.py']
federated = dict(
    sites=dict(
        hospital_a=['phantom_a'],
        hospital_b=['phantom_b'],
        hospital_c=['phantom_c'],
    ),
)
