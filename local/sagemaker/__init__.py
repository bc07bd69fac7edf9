"""A SageMaker on one machine: jobs as subprocesses, endpoints as HTTP servers, keyed on botocore's shapes.

Importing the package imports each of its modules, which registers their operations.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
