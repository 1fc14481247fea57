"""The variables that the baseline is told its settings by."""

KEY_VARIABLE = "BASELINE_KEY"
DATA_VARIABLE = "BASELINE_DATA"
