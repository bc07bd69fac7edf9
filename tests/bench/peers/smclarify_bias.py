"""smclarify's metrics of one group of a table: {metric: value} and the seconds they took, loading left out.

python smclarify_bias.py <rows.npz> <facet column> <its group>
"""

import inspect
import json
import sys
import time

import numpy as np
import pandas as pd
from smclarify.bias.metrics import posttraining, pretraining

NAMES = ["CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL"]
LATER = ["DPPL", "DI", "DCA", "DCR", "SD", "RD", "DAR", "DRR", "AD", "TE", "CDDPL", "GE"]

path, facet, group = sys.argv[1:]
with np.load(path) as stored:
    rows = pd.DataFrame({name: stored[name] for name in stored.files})
start = time.perf_counter()
known = {
    "feature": rows[facet],
    "sensitive_facet_index": rows[facet] == group,
    "label": rows["label"],
    "positive_label_index": rows["label"] == 1,
    "positive_predicted_label_index": rows["prediction"] == 1,
    "group_variable": rows["stratum"],
}
metrics = [getattr(pretraining, name) for name in NAMES] + [getattr(posttraining, name) for name in LATER]
values = {
    metric.__name__: float(metric(**{key: known[key] for key in inspect.signature(metric).parameters}))
    for metric in metrics
}
print(json.dumps({"seconds": time.perf_counter() - start, "values": values}))
