"""How good the answers are: functions of the record `Evaluation`."""
