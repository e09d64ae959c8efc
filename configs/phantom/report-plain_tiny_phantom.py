# Clinical terms weigh as much as other words: what their weight brings.
_base_ = './report_tiny_phantom.py'
model = dict(student=dict(reporting=dict(term_weight=1.0)))
