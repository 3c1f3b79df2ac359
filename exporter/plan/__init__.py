"""What an export will make: everything is looked at and decided here, and nothing is written."""
