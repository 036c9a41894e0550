"""One family of errors. A message names the file or field at fault and the way out."""


class UncertaintySegError(Exception):
    """The user can mend this: the CLI exits with 2, the server answers with a 4xx status."""


class InputError(UncertaintySegError):
    """A scan, a label or an argument that cannot be used."""


class GridError(InputError):
    """A label or a channel that lies on another grid than its scan."""


class TooLargeError(InputError):
    """A scan that takes more memory than the device has; another device may have it."""


class StorageError(InputError):
    """A file that cannot be written for want of room; what was there before is untouched (507)."""


class BundleError(UncertaintySegError):
    """A model folder whose metadata, configuration or weights do not fit together."""
