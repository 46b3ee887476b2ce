"""The linked page of a run in a notebook: `dashboard.show(run)`."""
