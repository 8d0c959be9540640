"""A store that recalls an item when it is read, for those who do not plan their reads."""

from storage_backends.backend import Reader, Recalling, StorageBackend
from storage_backends.wrapping import Wrapping


class SelfRecalling(Wrapping):
    """Passes on to ``inner``, which can recall; what is read is recalled first.

    Who reads many items still asks for all of them at once.
    """

    def __init__(self, inner: StorageBackend) -> None:
        assert isinstance(inner, Recalling)
        super().__init__(inner)

    def read(self, key: str, *, offset: int = 0, length: int | None = None, fresh: bool = False) -> Reader:
        """Recall, then pass on."""
        self.recall([key])
        return super().read(key, offset=offset, length=length, fresh=fresh)
