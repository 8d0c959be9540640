"""Give records back: a package or a single file as files, as a BagIt bag or as an OCFL object, with its events."""

from preservation.dissemination.export import Exported, Form, export

__all__ = ["Exported", "Form", "export"]
