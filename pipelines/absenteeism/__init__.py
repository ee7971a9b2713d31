"""Absenteeism: facts about an absence of an employee in, the expected hours of absence out."""
