"""What people hand over: folders, bags, archives; read with distrust, never followed outside."""

from preservation.submission.opening import open_submission

__all__ = ["open_submission"]
