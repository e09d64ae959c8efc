"""Pictures: contact sheets, predictions beside the truth, curves."""
