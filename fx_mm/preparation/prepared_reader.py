"""What the prepared tables say, read as they are."""

from fx_mm.preparation.dataset_spec import DatasetSpec
from fx_mm.preparation.prepared_forms import FORMS
from fx_mm.preparation.prepared_image import PreparedRecord
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import hash_file


def read_prepared(
    spec: DatasetSpec, tables: dict[str, str], problems: dict[str, list[str]]
) -> list[PreparedRecord]:
    """Read the prepared tables as they are.

    Args:
        spec (DatasetSpec): The dataset.
        tables (dict): File to its checksum, by the manifest.
        problems (dict): Takes what is wrong with the files.

    Returns:
        list[PreparedRecord]: One per image.

    Raises:
        UserError: If a table is damaged.
    """
    records: dict[str, PreparedRecord] = {}
    for name, form in spec.forms.items():
        for split, file in form.files.items():
            if file not in tables:
                continue
            path = spec.root / file
            if not path.is_file():
                problems['tables are missing'].append(file)
                continue
            if hash_file(path) != tables[file]:
                problems['tables were changed'].append(file)
            try:
                for image, fields in FORMS[name].read(path, form.classes):
                    record = records.setdefault(image, PreparedRecord(image))
                    record.splits[name] = split
                    for key, value in fields.items():
                        setattr(record, key, value)
            except (UserError, ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f'{path} was damaged after it was written ({error!r}); '
                    'prepare the dataset again with --force.'
                ) from error
    return list(records.values())
