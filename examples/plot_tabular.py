"""
Rows that are no images
=======================

Nothing in the vocabulary asks for pixels. Here three sorts of wine are described by thirteen
measurements, a forest tells them apart, and the generator draws bottles that do not exist. The rows
are a frame of pandas: ``pip install pandas``.
"""

# %%
# Fit
# ---
# A forest has no gradient: a small network learns to answer as it does, and
# ``surrogate_fidelity_`` says how often the two agree on held-out rows. Scales differ by a factor
# of a thousand between columns, so that a scaler goes first.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skinvert

X, y = load_wine(return_X_y=True, as_frame=True)
y = y.map({0: "Barolo", 1: "Grignolino", 2: "Barbera"})
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=60, stratify=y, random_state=0)

pipeline = make_pipeline(
    StandardScaler(),
    skinvert.InputOptimizationGenerator(
        RandomForestClassifier(200, random_state=0), prior_weight=0.1, random_state=0
    ),
).fit(X_train, y_train)
print(f"fidelity of the student: {pipeline[-1].surrogate_fidelity_:.3f}")

# %%
# Draw
# ----
# The rows come back in the units of the table.

labels = np.repeat(["Barolo", "Grignolino", "Barbera"], 40)
drawn = pd.DataFrame(skinvert.generate(pipeline, labels), columns=X.columns)
shown = ["alcohol", "flavanoids", "color_intensity", "proline"]
print("medians of real rows")
print(X_train.groupby(y_train)[shown].median().round(2).to_string())
print("\nmedians of drawn rows")
print(drawn.groupby(labels)[shown].median().round(2).to_string())

# %%
# Judge
# -----
# A judge that saw drawn rows alone, tested on real ones, beside the same judge trained on real
# rows. Only the generator's density says that two measurements of a bottle belong together: its
# correlations stand beside the real ones.

judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
on_drawn = judge.fit(drawn, labels).score(X_test, y_test)
on_real = judge.fit(X_train, y_train).score(X_test, y_test)
print(f"accuracy on held-out rows: {on_drawn:.3f} learned from drawn rows, {on_real:.3f} from real")

figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharex=True, sharey=True, layout="constrained")
for axis, name, table, sorts in (
    (axes[0], "real", X_train, y_train.to_numpy()),
    (axes[1], "drawn", drawn, labels),
):
    for sort in ("Barolo", "Grignolino", "Barbera"):
        rows = table[sorts == sort]
        axis.scatter(rows["flavanoids"], rows["color_intensity"], s=14, alpha=0.7, label=sort)
    correlation = np.corrcoef(table["flavanoids"], table["color_intensity"])[0, 1]
    axis.set(title=f"{name}, correlation {correlation:.2f}", xlabel="flavanoids")
axes[0].set_ylabel("colour intensity")
axes[0].legend()
plt.show()
