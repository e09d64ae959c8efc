# Questions about images of hospital C, beside its labels: the same kind of
# task as reports, each answer behind its question.
_base_ = './report_tiny_phantom.py'
datasets = dict(
    phantom_c_questions=dict(
        data_root={{_base_.phantom_c.data_root}},
        img_dir={{_base_.phantom_c.img_dir}},
        tasks=dict(
            report=dict(
                classes={{_base_.phantom_c.tasks.cls.classes}},
                questions=True,
                splits=dict(
                    train='train_questions.csv',
                    val='val_questions.csv',
                    test='test_questions.csv',
                ),
            ),
        ),
    ),
)
tasks = ['phantom_c/cls', 'phantom_c_questions/report']
model = dict(
    student=dict(reporting=dict(max_tokens=24, label_smoothing=0.0)),
)
