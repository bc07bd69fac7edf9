"""The other account, where one trains and another serves (docs/accounts.md). Both names are empty where this
account does both; at most one of them is not."""

from . import settings

# The account that has the models' folders, the data and the registry, for one that serves.
TRAINING = settings.optional("TRAINING_ACCOUNT")
# The account that has the endpoints and watches them, for one that trains.
SERVING = settings.optional("SERVING_ACCOUNT")
