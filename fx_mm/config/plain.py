"""A config as plain text, with its tasks."""

from pprint import pformat

from mmengine.config import Config

from fx_mm.tasks import TaskTable


class PlainConfig(Config):
    """A config whose text costs milliseconds, with its tasks.

    mmengine formats it with yapf, which takes seconds for an expanded config,
    and asks for it at every checkpoint.
    """

    @property
    def task_table(self) -> TaskTable:
        """TaskTable: The active tasks, read once; copies share it."""
        table = self.__dict__.get('_task_table')
        if table is None:
            table = TaskTable.from_cfg(self)
            self.__dict__['_task_table'] = table
        return table

    @property
    def pretty_text(self) -> str:
        """str: The config as Python, one assignment a key."""
        return ''.join(
            f'{key} = {pformat(value, width=79, sort_dicts=False)}\n'
            for key, value in self.to_dict().items()
        )
