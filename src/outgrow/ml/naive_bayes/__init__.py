"""Naive Bayes: classes told apart by what each column alone says."""
