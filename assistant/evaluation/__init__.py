"""Golden sets, grading, evaluation and calibration: what each level achieves on questions with known answers."""
