"""The accounts of the local stack: a twelve-digit access key is the root of that account. MiniStack keeps its
services apart by account; here it is SageMaker's turn. Nothing is made before something asks for it."""

import threading
from pathlib import Path

from local.machine import Machine
from local.sagemaker.service import Service


class Accounts:
    """Each account's SageMaker; those of one stack see each other's shared packages."""

    def __init__(self, host: Machine, root: Path) -> None:
        """host: the machine of whichever account the running request belongs to."""
        self._host, self._root = host, root
        self._lock = threading.RLock()
        self._services: dict[str, Service] = {}

    def service(self, account: str = "") -> Service:
        """An account's SageMaker; without one, that of the account which the running request belongs to."""
        account = account or self._host.account
        with self._lock:
            if account not in self._services:
                host = self._host.of(account)
                self._services[account] = Service(host, self._root / account, self.service)
            return self._services[account]

    def services(self) -> list[Service]:
        with self._lock:
            return list(self._services.values())

    def flush_capture(self) -> None:
        for service in self.services():
            service.flush_capture()

    def close(self) -> None:
        for service in self.services():
            service.close()
