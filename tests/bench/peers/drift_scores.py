"""In Evidently's environment: its scores, and scipy's KS, of every column of two Parquet files, as JSON.
Arguments: reference, current."""

import json
import sys

import numpy as np
import pandas as pd
from evidently.legacy.calculations import stattests
from evidently.legacy.core import ColumnType
from scipy import stats

TESTS = {
    "psi": stattests.psi_stat_test,
    "jensen_shannon": stattests.jensenshannon_stat_test,
    "kullback_leibler": stattests.kl_div_stat_test,
    "hellinger": stattests.hellinger_stat_test,
    "wasserstein": stattests.wasserstein_stat_test,
}

before, now = (pd.read_parquet(path) for path in sys.argv[1:])
scores = {}
for name in before.columns:
    if name == "time":
        continue
    is_number = pd.api.types.is_numeric_dtype(before[name])
    kind = ColumnType.Numerical if is_number else ColumnType.Categorical
    sides = [side[name].dropna() for side in (before, now)]
    scores[name] = {
        key: float(test.func(sides[0].copy(), sides[1].copy(), kind, 0.1)[0])
        for key, test in TESTS.items()
        if kind in test.allowed_feature_types
    }
    if is_number:
        scores[name]["ks"] = float(
            stats.ks_2samp(*(np.sort(side.to_numpy(float)) for side in sides)).statistic
        )
print(json.dumps(scores))
