"""The loop: a policy watches a served model, learns another, judges it, and rolls it out or back."""
