"""The sample applications."""
