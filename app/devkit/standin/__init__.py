"""A stand-in for CPH and IAM: scripted jobs, real answers, faults on demand."""
