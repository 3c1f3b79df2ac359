"""The models, written for export: torch functions whose weights are arguments."""
