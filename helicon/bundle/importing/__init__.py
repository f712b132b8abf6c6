"""Models that others have trained, from folders in Hugging Face's layout into bundles. No code or pickle is run."""
